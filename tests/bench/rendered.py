"""The audio that a browser rendered, by the machine's clock, and the position in an answer at a given time."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.callers.correlation import best_match
from services.callers.speech import Samples, resample

HZ = 24_000
NEEDLES_MS = (160, 320, 640)
"""Length of the audio that is matched; more of it if it is a pause or was stretched."""
SURE = 0.75
_AROUND_MS = 1500
_LOUD = 150.0
_FITTED = 100  # chunks, one second


@dataclass(frozen=True, slots=True)
class RenderedAudio:
    """Sound at 24 kHz; ``starts_ms``: unix time of each chunk, ``firsts``: its first sample."""

    samples: Samples
    starts_ms: NDArray[np.float64]
    firsts: NDArray[np.int64]

    @classmethod
    def read(cls, taken: dict[str, Any]) -> "RenderedAudio":
        """Parse the result of `ear.rendered()`."""
        pcm = np.frombuffer(base64.b64decode(taken["pcm"]), "<i2")
        rate = int(taken["rate"])
        firsts = np.concatenate(([0], np.cumsum(taken["lengths"])[:-1])) * HZ // rate
        return cls(resample(pcm, from_hz=rate, to_hz=HZ), np.array(taken["starts_ms"]), firsts.astype(np.int64))

    def sample_at(self, unix_ms: float) -> int:
        """The sample that was rendered at that time.

        Chunks are taken when the device has room, some ms early or late; it plays them evenly. So a line of the known
        slope is laid through the last second of them.
        """
        last = int(np.searchsorted(self.starts_ms, unix_ms, side="right"))
        chosen = slice(max(0, last - _FITTED), last)
        if last == 0:
            raise ValueError("nothing had been rendered by then")
        origin = np.median(self.firsts[chosen] - (self.starts_ms[chosen] - unix_ms) * HZ / 1000)
        return round(float(origin))

    def position_ms(self, said: Samples, unix_ms: float, *, expected_ms: int) -> float | None:
        """How much of the answer ``said`` had been rendered by then; None: no match."""
        end = self.sample_at(unix_ms)
        low = max(0, (expected_ms - _AROUND_MS) * HZ // 1000)
        around = said[low : (expected_ms + _AROUND_MS) * HZ // 1000]
        for length in (ms * HZ // 1000 for ms in NEEDLES_MS):
            needle = self.samples[max(0, end - length) : end]
            if len(needle) == length <= len(around) and np.sqrt(np.mean(needle.astype(float) ** 2)) > _LOUD:
                match = best_match(needle, around)
                if match.peak > SURE:
                    return (low + match.lag + length) * 1000 / HZ
        return None
