"""Encoded speech: one Opus payload per 20 ms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Base64UrlBytes

FRAME_S = 0.02
_FULL_SCALE = 32768.0
QUIETEST = 127
"""RFC 6464 level of silence, in -dBov."""


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """``onset_s`` and ``end_s``: start and end of the true speech, from the start of the first frame."""

    name: str
    payloads: tuple[Base64UrlBytes, ...]
    levels: tuple[int, ...]
    """Level of each payload in -dBov, 0 to 127 (RFC 6464)."""
    onset_s: float
    end_s: float


def level(samples: npt.NDArray[np.int16]) -> int:
    """Level of ``samples`` in -dBov (RFC 6464): 0 is the maximum, 127 silence."""
    mean_square = float(np.mean(samples.astype(np.float64) ** 2)) / _FULL_SCALE**2
    return QUIETEST if mean_square == 0 else int(min(QUIETEST, max(0.0, round(-10 * np.log10(mean_square)))))
