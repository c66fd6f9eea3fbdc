"""Samples of WAV files: the encodings that call recorders write, decoded to floats."""

import struct
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Encoding = Literal["pcm8", "pcm16", "pcm24", "pcm32", "float32", "float64", "alaw", "ulaw"]
Floats = npt.NDArray[np.float32]

MIN_HZ, MAX_HZ = 8_000, 48_000
MAX_CHANNELS = 2
_EXTENSIBLE: Final = 0xFFFE
_SUBFORMAT = slice(24, 26)
"""Where the extensible format's GUID has the code of the encoding."""
_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (1, 8): "pcm8",
    (1, 16): "pcm16",
    (1, 24): "pcm24",
    (1, 32): "pcm32",
    (3, 32): "float32",
    (3, 64): "float64",
    (6, 8): "alaw",
    (7, 8): "ulaw",
}
_BITS: dict[Encoding, int] = {encoding: bits for (_, bits), encoding in _ENCODINGS.items()}
_KNOWN = "PCM of 8, 16, 24 or 32 bits, float, A-law and µ-law can be read"


class UnreadableRecordingError(Exception):
    """A file is no recording that can be analysed. ``str()`` is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class WavFormat:
    """How a WAV file stores its samples."""

    encoding: Encoding
    hz: int
    channels: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * _BITS[self.encoding] // 8


def parse_format(chunk: bytes) -> WavFormat:
    """Return what a `fmt ` chunk states.

    Raises:
        UnreadableRecordingError: the chunk is too short, or the encoding, rate or channels are not supported.
    """
    if len(chunk) < 16:  # noqa: PLR2004 - the size of the plain chunk
        raise UnreadableRecordingError(f"its format chunk has {len(chunk)} bytes instead of 16 or more")
    code, channels, hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= _SUBFORMAT.stop:
        (code,) = struct.unpack("<H", chunk[_SUBFORMAT])
    encoding = _ENCODINGS.get((code, bits))
    if encoding is None:
        raise UnreadableRecordingError(f"its encoding (format {code:#x}, {bits} bits) is not supported: {_KNOWN}")
    if not MIN_HZ <= hz <= MAX_HZ:
        raise UnreadableRecordingError(f"its rate is {hz} Hz: {MIN_HZ} to {MAX_HZ} Hz can be read")
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnreadableRecordingError(f"it has {channels} channels: mono and stereo can be read")
    return WavFormat(encoding, hz, channels)


def decode(data: bytes, source: WavFormat) -> Floats:
    """Return the samples in ``data``, shape (samples, channels), full scale ±1; an incomplete last one is left out."""
    whole = data[: len(data) - len(data) % source.block_bytes]
    return _decode(whole, source.encoding).reshape(-1, source.channels)


def _decode(data: bytes, encoding: Encoding) -> Floats:
    samples: Floats
    match encoding:
        case "pcm8":
            samples = ((np.frombuffer(data, np.uint8) - 128.0) / 128).astype(np.float32)
        case "pcm16":
            samples = (np.frombuffer(data, "<i2") / 32768).astype(np.float32)
        case "pcm24":
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = (wide.view("<i4").ravel() / 2**31).astype(np.float32)
        case "pcm32":
            samples = (np.frombuffer(data, "<i4") / 2**31).astype(np.float32)
        case "float32":
            samples = _finite(np.frombuffer(data, "<f4"))
        case "float64":
            samples = _finite(np.frombuffer(data, "<f8"))
        case "alaw":
            samples = _ALAW[np.frombuffer(data, np.uint8)]
        case _:
            samples = _ULAW[np.frombuffer(data, np.uint8)]
    return samples


def _finite(samples: npt.NDArray[np.floating]) -> Floats:
    """Floats may be infinite or no numbers; what is louder than full scale is clipped."""
    finite: Floats = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0).clip(-1, 1).astype(np.float32)
    return finite


def _alaw_table() -> Floats:
    """ITU-T G.711, table 1a: 13-bit values."""
    code = np.arange(256) ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    size = np.where(segment == 0, step * 16 + 8, (step * 16 + 264) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, size, -size) / 32768).astype(np.float32)


def _ulaw_table() -> Floats:
    """ITU-T G.711, table 2a: 14-bit values."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 15) * 8 + 132) << (code >> 4 & 7)) - 132
    return (np.where(code & 0x80, -size, size) / 32768).astype(np.float32)


_ALAW, _ULAW = _alaw_table(), _ulaw_table()
