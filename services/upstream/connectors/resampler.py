"""16 kHz of the bus to 24 kHz of the wire, one stream per utterance: 20 ms in are 480 samples out, in sum exactly."""

import numpy as np
import soxr

from services.contracts.audio import DOWN_HZ, UP_HZ

_NOTHING = np.zeros(0, np.int16)


class Resampler:
    """A stream that gives later what its filter still holds, and all of it when it is flushed."""

    def __init__(self) -> None:
        self._stream: soxr.ResampleStream | None = None

    def push(self, pcm: bytes) -> bytes:
        """Audio in; audio out, maybe none yet."""
        if self._stream is None:
            self._stream = soxr.ResampleStream(UP_HZ, DOWN_HZ, 1, dtype="int16", quality="HQ")
        return bytes(self._stream.resample_chunk(np.frombuffer(pcm, "<i2")).astype("<i2").tobytes())

    def flush(self) -> bytes:
        """The rest; what is pushed next begins a new stream."""
        stream, self._stream = self._stream, None
        return b"" if stream is None else bytes(stream.resample_chunk(_NOTHING, last=True).astype("<i2").tobytes())

    def reset(self) -> None:
        """Forget what the filter holds."""
        self._stream = None
