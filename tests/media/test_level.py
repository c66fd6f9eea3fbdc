"""The level of frames in dBFS."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.contracts.audio import PcmFrame
from services.media.core.speech.level import levels_dbfs

SAMPLES = arrays.arrays(np.dtype("<i2"), 320)


def constant(value: int) -> PcmFrame:
    return PcmFrame(0, np.full(320, value, "<i2").tobytes())


@pytest.mark.parametrize(
    ("frame", "dbfs"), [(constant(0), -100), (constant(-32768), 0), (constant(3277), -20), (constant(33), -59.94)]
)
def test_a_level_is_relative_to_full_scale(frame: PcmFrame, dbfs: float) -> None:
    assert levels_dbfs([frame]) == [pytest.approx(dbfs, abs=0.01)]


@given(st.lists(SAMPLES, min_size=1, max_size=8))
def test_a_batch_gives_the_root_mean_square_of_each_frame(batch: list[np.ndarray]) -> None:
    found = levels_dbfs([PcmFrame(n, samples.tobytes()) for n, samples in enumerate(batch)])
    assert len(found) == len(batch)
    for level, samples in zip(found, batch, strict=True):
        rms = math.sqrt(sum(int(sample) ** 2 for sample in samples) / 320) / 32768
        assert level == pytest.approx(max(-100.0, 20 * math.log10(rms) if rms else -100.0), abs=0.01)
