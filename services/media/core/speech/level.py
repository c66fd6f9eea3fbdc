"""The level of frames."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from services.contracts.audio import UP_FRAME_SAMPLES, PcmFrame

QUIETEST_DBFS: Final = -100.0
"""The level of digital silence, and the least that is given."""
UNKNOWN_DBFS: Final = math.inf
"""In place of a level where none was measured."""
_FULL_SCALE_ENERGY: Final = 32768.0**2 * UP_FRAME_SAMPLES
_QUIETEST: Final = 10 ** (QUIETEST_DBFS / 10)


def levels_dbfs(frames: Sequence[PcmFrame]) -> list[float]:
    """Return the level (RMS) of each frame in dBFS: 0 is a square wave at full scale, -100 is digital silence."""
    samples = np.frombuffer(b"".join([frame.pcm for frame in frames]), "<i2").astype(np.float32)
    samples = samples.reshape(len(frames), UP_FRAME_SAMPLES)
    energies = np.einsum("ij,ij->i", samples, samples).astype(np.float64) / _FULL_SCALE_ENERGY
    levels: list[float] = (10 * np.log10(np.maximum(energies, _QUIETEST))).tolist()
    return levels
