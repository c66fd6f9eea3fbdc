"""When the detector takes more time than there is."""

import pytest

from services.media.core.speech.detection_load import LONG_S, MOST_LONG, RELIEF_S, DetectionLoad


def batches(load: DetectionLoad, count: int, *, took_s: float, every_s: float, start: float = 100.0) -> int | None:
    """Measure batches; return after how many the detector is behind."""
    for number in range(count):
        if load.measured(took_s, now=start + number * every_s):
            return number + 1
    return None


@pytest.mark.parametrize(
    ("took_s", "every_s", "behind"),
    [
        (0.0029, 0.005, False),
        (0.0031, 0.005, True),
        (0.019, 0.1, False),
        (0.021, 0.1, True),
        (0.021, 0.25, False),
        (0.5, 1.1, False),
    ],
)
def test_it_is_behind_by_its_share_of_a_second_or_by_several_long_batches(
    took_s: float,
    every_s: float,
    behind: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert (batches(DetectionLoad(), int(5 / every_s), took_s=took_s, every_s=every_s) is not None) == behind


def test_a_share_is_of_a_whole_second() -> None:
    assert batches(DetectionLoad(), 9, took_s=0.019, every_s=0.02) is None
    assert batches(DetectionLoad(), 99, took_s=0.019, every_s=0.02) == 51


def test_relief_lasts_a_while_and_then_it_is_measured_anew() -> None:
    load = DetectionLoad()
    assert not load.is_behind(now=100)
    assert batches(load, MOST_LONG, took_s=LONG_S, every_s=0.02) == MOST_LONG
    end = 100 + (MOST_LONG - 1) * 0.02 + RELIEF_S
    assert load.is_behind(now=end - 0.01)
    assert not load.is_behind(now=end)
    assert batches(load, MOST_LONG, took_s=LONG_S, every_s=0.02, start=end) == MOST_LONG
