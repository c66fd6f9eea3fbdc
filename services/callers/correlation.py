"""Finds one sound in another: pure arithmetic, no clock, no I/O."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_NOTHING = 1e-9
"""Windows with less than this share of the loudest window's energy never match: they would divide by nearly 0."""


@dataclass(frozen=True, slots=True)
class Match:
    """Offset of the needle in the haystack, and their correlation: 1 is the same sound at any volume."""

    lag: int
    peak: float


def best_match(needle: npt.ArrayLike, haystack: npt.ArrayLike) -> Match:
    """Find the place of ``needle`` in ``haystack`` with the highest normalised cross-correlation.

    Both at the same rate. The needle must fit wholly: to find a cut-off answer, search what was received in what was
    sent.

    Raises:
        ValueError: the needle is empty, silent or longer than the haystack.
    """
    sought = np.asarray(needle, dtype=np.float64)
    sound = np.asarray(haystack, dtype=np.float64)
    if not 0 < sought.size <= sound.size:
        raise ValueError(f"a needle of {sought.size} samples in a haystack of {sound.size}")
    energy = float(np.dot(sought, sought))
    if energy == 0:
        raise ValueError("the needle is silent")
    products = _slide(sought, sound)
    windows = _window_energies(sound, sought.size)
    audible = windows > _NOTHING * max(float(windows.max()), np.finfo(np.float64).tiny)
    scores = np.where(audible, products / np.sqrt(np.where(audible, windows, 1.0) * energy), 0.0)
    lag = int(np.argmax(scores))
    return Match(lag, float(scores[lag]))


def _slide(needle: npt.NDArray[np.float64], haystack: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The dot product of the needle with every window of the haystack, by FFT."""
    size = 1 << (haystack.size + needle.size - 1).bit_length()
    spectrum = np.fft.rfft(haystack, size) * np.conj(np.fft.rfft(needle, size))
    products: npt.NDArray[np.float64] = np.fft.irfft(spectrum, size)
    return products[: haystack.size - needle.size + 1]


def _window_energies(haystack: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    sums = np.concatenate(([0.0], np.cumsum(haystack * haystack)))
    energies: npt.NDArray[np.float64] = np.maximum(sums[width:] - sums[:-width], 0.0)
    return energies
