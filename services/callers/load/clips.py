"""The callers' clips, encoded before the first call: Opus as Chromium sends it for wideband."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av import AudioCodecContext, AudioFrame, CodecContext

from services.callers.core.clip import EncodedClip, level
from services.callers.errors import SpeechError
from services.callers.speech import SPEECH_HZ, Clip, Samples, read_wav, resampled, synthesise

PHRASES = (
    "can you tell me what time it is please",
    "hello there how are you today",
    "count from one to five please",
    "what is the weather like in paris",
    "please tell me the time",
    "please tell me a long story",
)
"""The rehearsal recognises these at once; other sentences take it seconds, which would measure the rehearsal."""
_FRAME = SPEECH_HZ // 50
_LEAD_S = 0.1
_TAIL_S = 0.2  # Opus sends for so long before DTX begins; shorter than any hangover
_BIT_RATE = 24_000
_SILENT_FRAMES = 50


@dataclass(frozen=True, slots=True)
class SpeechClips:
    """Clips, and the payload of 20 ms of silence."""

    clips: tuple[EncodedClip, ...]
    silence: bytes


async def prepare(folder: Path | None) -> SpeechClips:
    """Encode the WAV files of ``folder``; without one, let flite synthesise `PHRASES`.

    Raises:
        SpeechError: no flite, no files, or one that cannot be read.
    """
    spoken = [(phrase, await synthesise(phrase)) for phrase in PHRASES] if folder is None else _read_all(folder)
    silence = _encode(np.zeros(_FRAME * _SILENT_FRAMES, dtype=np.int16))[-1]
    return SpeechClips(tuple(encoded(name, clip) for name, clip in spoken), silence)


def _read_all(folder: Path) -> list[tuple[str, Clip]]:
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise SpeechError(f"there is no .wav file in {folder}")
    return [(file.name, read_wav(file)) for file in files]


def encoded(name: str, spoken: Clip) -> EncodedClip:
    """Trim ``spoken`` to its speech, with a little silence around it, and encode it."""
    clip = resampled(spoken, hz=SPEECH_HZ)
    lead = np.zeros(round(_LEAD_S * SPEECH_HZ), dtype=np.int16)
    speech = clip.samples[clip.onset : clip.end]
    tail = round(_TAIL_S * SPEECH_HZ)
    tail += -(len(lead) + len(speech) + tail) % _FRAME
    samples = np.concatenate((lead, speech, np.zeros(tail, dtype=np.int16)))
    levels = tuple(level(samples[at : at + _FRAME]) for at in range(0, len(samples), _FRAME))
    return EncodedClip(name, tuple(_encode(samples)), levels, _LEAD_S, _LEAD_S + len(speech) / SPEECH_HZ)


def _encode(samples: Samples) -> list[bytes]:
    codec = CodecContext.create("libopus", "w")
    if not isinstance(codec, AudioCodecContext):
        raise TypeError("libopus is no audio codec here")
    codec.sample_rate, codec.layout, codec.format = SPEECH_HZ, "mono", "s16"
    codec.bit_rate, codec.time_base = _BIT_RATE, Fraction(1, SPEECH_HZ)
    codec.options = {"application": "voip", "frame_duration": "20", "fec": "1", "packet_loss": "10"}
    payloads = []
    for at in range(0, len(samples), _FRAME):
        frame = AudioFrame.from_ndarray(samples[np.newaxis, at : at + _FRAME], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SPEECH_HZ, at, codec.time_base
        payloads += [bytes(packet) for packet in codec.encode(frame)]
    return payloads
