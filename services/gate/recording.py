"""Reads WAV files of any length in blocks, resampled to the gate's 16 kHz, one stream of frames for each channel."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from services.contracts.audio import UP_FRAME_BYTES, UP_HZ
from services.gate.core.wav import Floats, UnreadableRecordingError, WavFormat, decode, parse_format

_BLOCK_S = 1
_UNFINISHED = {0, 0xFFFFFFFF}
"""Sizes in the header of a file that was written to a pipe, or whose writer has not finished: it goes on to its end."""
_IN_DS64 = 0xFFFFFFFF
_MAX_HEADER_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class WavRecording:
    """An open WAV file."""

    path: Path
    format: WavFormat
    data_bytes: int
    _file: BinaryIO

    @property
    def seconds(self) -> float:
        """The recording's length."""
        return self.data_bytes // self.format.block_bytes / self.format.hz

    def frames(self) -> Iterator[list[list[bytes]]]:
        """Yield for each second a list of 640-byte frames for each channel; the last frame is filled with silence."""
        channels = self.format.channels
        converter = _Converter(self.format)
        rest = [b""] * channels
        for block, last in self._blocks():
            pcm = converter.convert(block, last=last)
            frames: list[list[bytes]] = []
            for channel in range(channels):
                data = rest[channel] + pcm[:, channel].tobytes()
                if last:
                    data += bytes(-len(data) % UP_FRAME_BYTES)
                whole = len(data) - len(data) % UP_FRAME_BYTES
                frames.append([data[at : at + UP_FRAME_BYTES] for at in range(0, whole, UP_FRAME_BYTES)])
                rest[channel] = data[whole:]
            yield frames

    def _blocks(self) -> Iterator[tuple[Floats, bool]]:
        size = self.format.hz * self.format.block_bytes * _BLOCK_S
        left = self.data_bytes
        while left:
            data = self._file.read(min(size, left))
            left = left - len(data) if data else 0
            yield decode(data, self.format), left == 0


class _Converter:
    """Resamples to 16 kHz and rounds to 16 bits; at 16 kHz and 16 bits the samples stay as they are."""

    def __init__(self, source: WavFormat) -> None:
        self._stream = (
            None if source.hz == UP_HZ else soxr.ResampleStream(source.hz, UP_HZ, source.channels, dtype="float32")
        )

    def convert(self, samples: Floats, *, last: bool) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
        changed = samples if self._stream is None else self._stream.resample_chunk(samples, last=last)
        return np.rint(changed * 32768).clip(-32768, 32767).astype("<i2").reshape(-1, samples.shape[1])


@contextmanager
def open_recording(path: Path) -> Iterator[WavRecording]:
    """Open a WAV file.

    Raises:
        UnreadableRecordingError: it cannot be opened or is no WAV file of a supported format.
    """
    try:
        if path.is_dir():
            raise UnreadableRecordingError("it is a folder")
        if path.exists() and not path.is_file():
            raise UnreadableRecordingError("it is not a regular file")
        with path.open("rb") as file:
            yield _read_header(path, file)
    except OSError as exc:
        raise UnreadableRecordingError(f"it cannot be read: {exc.strerror or exc}") from exc


def _read_header(path: Path, file: BinaryIO) -> WavRecording:
    total = path.stat().st_size
    if total == 0:
        raise UnreadableRecordingError("it is empty")
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":  # noqa: PLR2004 - its size
        raise UnreadableRecordingError("it is not a WAV file")
    source: WavFormat | None = None
    long_size: int | None = None
    while len(chunk := file.read(8)) == 8:  # noqa: PLR2004 - name and size
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            if source is None:
                raise UnreadableRecordingError("its format chunk does not come before its data")
            stated = long_size if size == _IN_DS64 and long_size is not None else size
            return _recording(path, file, source, stated=stated, present=total - file.tell())
        after = file.tell() + size + size % 2
        if name in (b"fmt ", b"ds64"):
            content = file.read(min(size, _MAX_HEADER_CHUNK))
            if name == b"fmt ":
                source = parse_format(content)
            elif len(content) >= 16:  # noqa: PLR2004 - the sizes of file and data
                (long_size,) = struct.unpack_from("<Q", content, 8)
        file.seek(after)
    raise UnreadableRecordingError("it ends before its data: it is truncated")


def _recording(path: Path, file: BinaryIO, source: WavFormat, *, stated: int, present: int) -> WavRecording:
    size = present if stated in _UNFINISHED else stated
    if size > present:
        per_second = source.hz * source.block_bytes
        raise UnreadableRecordingError(
            f"it is truncated: it has {present / per_second:.1f} of the {size / per_second:.1f} s that it should have"
        )
    if size < source.block_bytes:
        raise UnreadableRecordingError("it has no samples")
    return WavRecording(path, source, size - size % source.block_bytes, file)
