"""WebRTC's detector, which needs no extra."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import webrtcvad

from services.contracts.audio import UP_FRAME_BYTES, UP_HZ, PcmFrame
from services.contracts.turn_detection import DEFAULT_THRESHOLD
from services.media.core.speech.detector import Unbatched

DEFAULT_MODE = 3
_ZEROS = bytes(UP_FRAME_BYTES)
_MOST_SENSITIVE = 0  # the mode of webrtcvad that classifies the most frames as speech
_QUIETEST_DBFS, _LOUDNESS_RANGE_DB = -65.0, 40.0
"""From the noise of a quiet room to a voice near the microphone after automatic gain control."""
_BELOW_HALF = 0.998  # what is no speech at the default threshold is none at 0.5


@dataclass(frozen=True, slots=True)
class WebrtcConfig:
    """Settings of WebRTC's detector."""

    mode: int = DEFAULT_MODE  # webrtcvad's aggressiveness: 0 classifies the most frames as speech, 3 the fewest
    # Off: browsers apply automatic gain control. With 20 dB 99.9 % instead of 97.4 % of the frames of a talker 20 dB
    # down were detected, but noise is amplified too: at 10 dB SNR 1.80 times true speech is sent instead of 1.55.
    max_gain_db: int = 0


class _Gain:
    """Amplifies a quiet talker for the detector only; follows the peak level of the last seconds."""

    _TARGET_RMS = 3000.0  # -21 dBFS, where webrtcvad is at its best
    _DECAY = 0.998  # per frame: half in 7 s, so that pauses stay quieter than speech

    def __init__(self, max_gain_db: int) -> None:
        self._max_gain = 10 ** (max_gain_db / 20)
        self._loudest = self._TARGET_RMS

    def amplify(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        self._loudest = max(math.sqrt(float(samples @ samples) / len(samples)), self._loudest * self._DECAY, 1.0)
        gain = min(self._max_gain, self._TARGET_RMS / self._loudest)
        if gain <= 1:
            return pcm
        lifted: bytes = np.clip(samples * gain, -32768, 32767).astype("<i2").tobytes()
        return lifted


class WebrtcDetector:
    """WebRTC's Gaussian mixture model: 10 µs a frame; false positives at 5 dB SNR and for background voices.

    It says yes or no, so its probabilities are 0 and 1 at the default threshold. At another they are graded by the
    level: a frame that is speech has 0.5 to 1; one that is speech only for the most sensitive mode has 0 to 0.5. So a
    higher threshold requires louder speech, and a lower one accepts quieter or less distinct speech.

    Digital silence (DTX) does not change the model, so after one such frame without speech it is not run until a sample
    differs from zero.
    """

    def __init__(self, config: WebrtcConfig) -> None:
        self._vad = webrtcvad.Vad(config.mode)
        self._sensitive: webrtcvad.Vad | None = None
        self._gain = _Gain(config.max_gain_db) if config.max_gain_db else None
        self._at_rest = False

    def set_threshold(self, threshold: float) -> None:
        """Grade the probabilities unless ``threshold`` is the default."""
        if threshold == DEFAULT_THRESHOLD:
            self._sensitive = None
        elif self._sensitive is None:
            self._sensitive = webrtcvad.Vad(_MOST_SENSITIVE)

    def probability(self, frame: PcmFrame) -> float:
        """Return the speech probability of ``frame``."""
        zeros = frame.pcm == _ZEROS
        if zeros and self._at_rest:
            return 0.0
        pcm = self._gain.amplify(frame.pcm) if self._gain else frame.pcm
        speech = bool(self._vad.is_speech(pcm, UP_HZ))
        self._at_rest = zeros and not speech and self._gain is None  # the gain must keep tracking the level
        if self._sensitive is None:
            return float(speech)
        if speech or self._sensitive.is_speech(pcm, UP_HZ):
            return (0.5 if speech else 0.0) + 0.5 * _loudness(pcm) * (1.0 if speech else _BELOW_HALF)
        return 0.0


def _loudness(pcm: bytes) -> float:
    """Return the level of a frame from 0, the noise of a quiet room, to 1, a voice near the microphone."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    rms = math.sqrt(float(samples @ samples) / len(samples))
    dbfs = 20 * math.log10(max(rms, 1.0) / 32768)
    return min(1.0, max(0.0, (dbfs - _QUIETEST_DBFS) / _LOUDNESS_RANGE_DB))


def webrtc_detector(config: WebrtcConfig) -> Unbatched:
    """Return the detector of a process."""
    return Unbatched(partial(WebrtcDetector, config))
