import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.onset import Onset

CONFIG = GateConfig(onset_probability=0.5, certain_probability=0.8, onset_frames=3, barge_in_onset_frames=3)
HALF = 2 / 3
"""The odds of 2 to 1 are half of the logits from 1 to 1 (0.5) to 4 to 1 (0.8)."""
SCORES = st.lists(st.floats(0, 1), max_size=30)


def after(*scores: float, config: GateConfig = CONFIG) -> Onset:
    onset = Onset(config)
    for score in scores:
        onset.on_frame(score, -30.0)
    return onset


@pytest.mark.parametrize(
    ("scores", "frames", "opens"),
    [
        ((0.8, 1.0, 0.9), 3, True),
        ((0.8, 0.8), 2, False),
        ((HALF, 0.8, 0.8, HALF), 4, True),
        ((HALF, 0.8, 0.8), 3, False),
        ((0.8, 0.8, 0.0, 0.8, 0.8), 5, True),
        ((0.8, 0.0, 0.8, 0.8), 2, False),
        ((0.8, 0.8, 1 / 3, 0.8, 0.8), 5, True),
        ((0.0, 0.4, 0.49), 0, False),
        ((), 0, False),
    ],
)
def test_certain_frames_add_one_doubtful_ones_a_part_and_silence_takes_one_away(
    scores: tuple[float, ...], frames: int, *, opens: bool
) -> None:
    onset = after(*scores)
    assert onset.frames == frames
    assert onset.opens(3) == opens


def test_the_sum_is_bounded_so_that_silence_soon_takes_it_away() -> None:
    assert after(*[0.9] * 100, *[0.0] * 5).frames == 105
    assert after(*[0.9] * 100, *[0.0] * 6).frames == 0


def test_the_loudest_frame_since_the_beginning_is_known() -> None:
    onset = Onset(CONFIG)
    for level in (-60.0, -30.0, -50.0):
        onset.on_frame(0.9, level)
    assert onset.loudest_dbfs == -30
    onset.reset()
    onset.on_frame(0.9, -50.0)
    assert (onset.frames, onset.loudest_dbfs) == (1, -50)


@given(SCORES, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_what_opens_with_a_threshold_opens_with_a_lower_one(scores: list[float], one: float, other: float) -> None:
    lower, higher = min(one, other), max(one, other)

    def opened(threshold: float) -> bool:
        onset = Onset(GateConfig(threshold=threshold))
        for score in scores:
            onset.on_frame(score, -30.0)
            if onset.opens(4):
                return True
        return False

    assert opened(lower) or not opened(higher)


@given(SCORES)
def test_scores_of_yes_and_no_open_after_as_many_frames_of_yes(scores: list[float]) -> None:
    onset = Onset(GateConfig())
    count = 0
    for score in scores:
        onset.on_frame(float(score >= 0.5), -30.0)
        count = max(0, min(12, count + (1 if score >= 0.5 else -1)))
        assert onset.opens(4) == (count >= 4)


@pytest.mark.parametrize(
    ("score", "odds", "opens"),
    [(0.5, 1.0, False), (0.5, 4.0, True), (0.8, 1.0, True), (0.8, 0.5, False), (0.04, 1000.0, False), (1.0, 0.5, True)],
)
def test_odds_make_a_score_count_more_or_less_but_not_silence_and_not_certainty(
    score: float, odds: float, *, opens: bool
) -> None:
    onset = Onset(CONFIG)
    for _ in range(3):
        onset.on_frame(score, -30.0, odds)
    assert onset.opens(3) == opens
