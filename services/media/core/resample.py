"""48 kHz stereo, as Opus decodes, to 16 kHz mono, as the gate and the bus take it."""

import numpy as np
from numpy.typing import NDArray

FACTOR = 3
_TAPS = 48
_CUTOFF = 0.31  # of the sampling rate's half: 7.4 kHz, so that the fold lies below the band's edge


def _low_pass() -> NDArray[np.float32]:
    at = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.asarray(np.sinc(at * _CUTOFF) * np.hamming(_TAPS), np.float32)
    unity: NDArray[np.float32] = taps / taps.sum()
    return unity


class Decimator:
    """One stream's filter; it remembers what came before, so frames join without a seam. Delay: 0.5 ms."""

    _taps = _low_pass()

    def __init__(self) -> None:
        self._past = np.zeros(_TAPS - 1, np.float32)

    def convert(self, samples: NDArray[np.int16], *, channels: int) -> bytes:
        """Take interleaved s16 at 48 kHz, a multiple of three samples per channel; give s16le mono at 16 kHz."""
        mono = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
        joined = np.concatenate((self._past, mono))
        self._past = joined[-(_TAPS - 1) :]
        filtered = np.convolve(joined, self._taps, "valid")[::FACTOR]
        return np.clip(np.rint(filtered), -32768, 32767).astype("<i2").tobytes()
