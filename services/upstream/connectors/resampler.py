"""A streaming resampler, for an utterance on its way to a provider or the audio of an item."""

import numpy as np
import soxr

_NOTHING = np.zeros(0, np.int16)


class Resampler:
    """Resamples a stream of s16le mono; the filter delays some audio, and `flush` returns the rest.

    In sum there are exactly ``output_hz / input_hz`` samples for each one given. Equal rates change nothing.
    """

    def __init__(self, input_hz: int, output_hz: int) -> None:
        self._input_hz = input_hz
        self._output_hz = output_hz
        self._stream: soxr.ResampleStream | None = None

    def resample(self, pcm: bytes) -> bytes:
        """Return the next audio at the output rate, maybe none yet.

        Raises:
            ValueError: ``pcm`` ends within a sample.
        """
        if self._input_hz == self._output_hz:
            return pcm
        if self._stream is None:
            self._stream = soxr.ResampleStream(self._input_hz, self._output_hz, 1, dtype="int16", quality="HQ")
        return bytes(self._stream.resample_chunk(np.frombuffer(pcm, "<i2")).astype("<i2").tobytes())

    def flush(self) -> bytes:
        """Return what the filter still holds; the next audio begins a new stream."""
        stream, self._stream = self._stream, None
        return b"" if stream is None else bytes(stream.resample_chunk(_NOTHING, last=True).astype("<i2").tobytes())

    def reset(self) -> None:
        """Discard what the filter holds; the next audio begins a new stream."""
        self._stream = None
