"""WAV files of any encoding, written for tests."""

import struct
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

VOICE = Path(__file__).parents[2] / "services" / "callers" / "recorded.wav"
"""A voice that asks for the time."""

FORMATS = {"pcm8": (1, 8), "pcm16": (1, 16), "pcm24": (1, 24), "pcm32": (1, 32), "float32": (3, 32), "float64": (3, 64)}
LAWS = {"alaw": (6, 8), "ulaw": (7, 8)}


def voice(*, lead_s: float = 0.5, tail_s: float = 1.5) -> npt.NDArray[np.int16]:
    """The recorded voice at 16 kHz between stretches of faint noise."""
    with wave.open(str(VOICE)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        spoken = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    noise = np.random.default_rng(7).integers(-3, 4, int((lead_s + tail_s) * 16_000)).astype(np.int16)
    return np.concatenate([noise[: int(lead_s * 16_000)], spoken, noise[int(lead_s * 16_000) :]])


def header(code: int, bits: int, *, hz: int = 16_000, channels: int = 1, size: int = 0) -> bytes:
    """A RIFF header up to the data, whose chunk states ``size`` bytes."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", code, channels, hz, hz * block, block, bits)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", (4 + len(chunks) + size) & 0xFFFFFFFF) + b"WAVE" + chunks


def encoded(samples: npt.NDArray[np.float64], encoding: str) -> bytes:
    """Samples of ±1 in a linear encoding."""
    match encoding:
        case "pcm8":
            return np.rint(samples * 127 + 128).astype(np.uint8).tobytes()
        case "pcm16":
            return np.rint(samples * 32767).astype("<i2").tobytes()
        case "pcm24":
            return np.rint(samples * (2**23 - 1)).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        case "pcm32":
            return np.rint(samples * (2**31 - 1)).astype("<i4").tobytes()
        case "float32":
            return samples.astype("<f4").tobytes()
        case _:
            return samples.astype("<f8").tobytes()


def write_wav(path: Path, samples: npt.NDArray[np.int16] | None = None, *, hz: int = 16_000, channels: int = 1) -> Path:
    """A file of 16-bit samples, by default the voice; returns its path."""
    data = (voice() if samples is None else samples).astype("<i2").tobytes()
    path.write_bytes(header(1, 16, hz=hz, channels=channels, size=len(data)) + data)
    return path
