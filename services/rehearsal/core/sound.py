"""Provider audio: s16le mono 24 kHz. Lengths are in bytes, so that sums are exact."""

import base64
import binascii

import numpy as np

from services.rehearsal.core.refusal import EventRefusedError

HZ = 24_000
BYTES_PER_MS = HZ * 2 // 1000
WINDOW_MS = 20
WINDOW_BYTES = WINDOW_MS * BYTES_PER_MS
_FULL_SCALE = 32768.0
_SILENT_DBFS = -120.0


def to_ms(length_bytes: int) -> int:
    """Convert to whole milliseconds, rounded down."""
    return length_bytes // BYTES_PER_MS


def decode(audio: str, param: str) -> bytes:
    """Decode base64 to s16le samples.

    Raises:
        EventRefusedError: not base64, or half a sample at its end.
    """
    try:
        pcm = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        pcm = b"?"
    if len(pcm) % 2:
        raise EventRefusedError(
            "invalid_value",
            f"Invalid '{param}'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got an invalid value.",
            param,
        )
    return pcm


def encode(pcm: bytes) -> str:
    """Encode samples as base64."""
    return base64.b64encode(pcm).decode("ascii")


def loudest_dbfs(pcm: bytes) -> float:
    """Level of the loudest 20 ms in dBFS."""
    if not pcm:
        return _SILENT_DBFS
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    window = WINDOW_BYTES // 2
    count = -(-len(samples) // window)
    padded = np.zeros(count * window, dtype=np.float32)
    padded[: len(samples)] = samples
    power = float(np.square(padded / _FULL_SCALE).reshape(count, window).mean(axis=1).max())
    return max(_SILENT_DBFS, 10.0 * float(np.log10(power))) if power else _SILENT_DBFS


def resampled(pcm: bytes, factor: float) -> bytes:
    """Return ``pcm`` as it sounds when played ``factor`` times as fast: shorter, and higher."""
    if factor == 1:
        return pcm
    samples = np.frombuffer(pcm, dtype="<i2")
    places = np.arange(int(len(samples) / factor)) * factor
    return bytes(np.interp(places, np.arange(len(samples)), samples).astype("<i2").tobytes())
