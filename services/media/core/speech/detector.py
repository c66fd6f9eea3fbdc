"""Speech detectors, which give the speech probability of a frame. A new one is a class and a line in `DETECTORS`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import webrtcvad

from services.contracts.audio import UP_FRAME_BYTES, UP_HZ, PcmFrame
from services.contracts.turn_detection import DEFAULT_THRESHOLD

_ZEROS = bytes(UP_FRAME_BYTES)
_MOST_SENSITIVE = 0  # the mode of webrtcvad that classifies the most frames as speech
_QUIETEST_DBFS, _LOUDNESS_RANGE_DB = -65.0, 40.0
"""From the noise of a quiet room to a voice near the microphone after automatic gain control."""
_BELOW_HALF = 0.998  # what is no speech at the default threshold is none at 0.5


_State = TypeVar("_State")


class Detector(Protocol[_State]):
    """Speech detection for all callers of a process, a batch at a time."""

    def new_state(self) -> _State:
        """Return the state of a new caller, to be passed with each of its frames."""

    def set_threshold(self, state: _State, threshold: float) -> None:
        """Set what the caller's probabilities are compared with. Where it is not 0.5, they must be graded."""

    def probabilities(self, batch: Sequence[tuple[_State, PcmFrame]]) -> Sequence[float]:
        """Return the speech probability, 0 to 1, of each frame. The frames of one caller come once each, in order."""


class FrameDetector(Protocol):
    """A detector of one caller that looks at one frame at a time."""

    def set_threshold(self, threshold: float) -> None:
        """Set what the probabilities are compared with. Where it is not 0.5, they must be graded."""

    def probability(self, frame: PcmFrame) -> float:
        """Return the speech probability of the next frame, 0 to 1."""


class Unbatched:
    """A `Detector` that asks a `FrameDetector` for each frame."""

    def __init__(self, make: Callable[[], FrameDetector]) -> None:
        self.new_state = make

    def set_threshold(self, state: FrameDetector, threshold: float) -> None:
        """Set what the caller's probabilities are compared with."""
        state.set_threshold(threshold)

    def probabilities(self, batch: Sequence[tuple[FrameDetector, PcmFrame]]) -> list[float]:
        """Return the speech probability of each frame."""
        return [caller.probability(frame) for caller, frame in batch]


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Settings of the detectors."""

    mode: int = 3  # webrtcvad's aggressiveness: 0 classifies the most frames as speech, 3 the fewest
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

    def __init__(self, config: DetectorConfig) -> None:
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


def _webrtcvad(config: DetectorConfig) -> Unbatched:
    return Unbatched(partial(WebrtcDetector, config))


DETECTORS: dict[str, Callable[[DetectorConfig], Detector[Any]]] = {
    "webrtcvad": _webrtcvad,
}
