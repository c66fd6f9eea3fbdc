from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.turn_detection import DetectsTurns
from services.media.core.speech.gate_config import GateConfig

OPERATOR = GateConfig(pre_roll_frames=12, audible_pre_roll_frames=5)


def test_the_default_threshold_leaves_the_probabilities_as_they_are() -> None:
    assert [GateConfig().shifted(each) for each in (0.0, 0.03, 0.6, 1.0)] == [0.0, 0.03, 0.6, 1.0]


@pytest.mark.parametrize(("threshold", "probability", "shifted"), [(0.3, 0.5, 0.3), (0.8, 0.5, 0.8), (0.8, 0.2, 0.5)])
def test_a_threshold_shifts_the_logit_of_a_probability_by_its_own(
    threshold: float, probability: float, shifted: float
) -> None:
    assert GateConfig(threshold=threshold).shifted(probability) == pytest.approx(shifted)


@given(st.lists(st.floats(0, 1), min_size=2), st.floats(0, 1))
def test_a_higher_threshold_never_lowers_what_a_score_must_reach(thresholds: list[float], probability: float) -> None:
    needed = [GateConfig(threshold=each).shifted(probability) for each in sorted(thresholds)]
    assert all(lower <= higher + 1e-12 for lower, higher in pairwise(needed))
    assert all(0 <= each <= 1 for each in needed)


@pytest.mark.parametrize(("padding_ms", "frames", "more"), [(240, 12, 5), (100, 5, 0), (600, 30, 0), (0, 0, 0)])
def test_a_pre_roll_that_a_call_asks_for_is_exact_and_the_default_follows_the_level(
    padding_ms: int, frames: int, more: int
) -> None:
    config = OPERATOR.with_turn_detection(DetectsTurns(prefix_padding_ms=padding_ms))
    assert (config.pre_roll_frames, config.audible_pre_roll_frames) == (frames, more)


def test_a_call_moves_hangover_threshold_and_mode() -> None:
    asked = DetectsTurns(threshold=0.7, silence_duration_ms=700, automatic=False, interrupt_response=False)
    config = OPERATOR.with_turn_detection(asked)
    assert (config.threshold, config.hangover_frames, config.automatic, config.interrupts) == (0.7, 35, False, False)
    assert config.hangover_s == 0.7
