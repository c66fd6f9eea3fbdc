"""How much taken-back answers may cost."""

import pytest

from services.upstream.core.eager_waste import EagerWaste


def wasteful(steps: int) -> EagerWaste:
    waste = EagerWaste(10)
    for _ in range(steps * 3):
        waste.record(100, taken_back=True)
    return waste


@pytest.mark.parametrize(
    ("steps", "silence_ms", "eager_ms"),
    [(0, 600, 300), (1, 600, 460), (1, 460, 0), (2, 600, 0), (3, 600, 0)],
)
def test_each_time_above_the_share_makes_eager_ends_later(steps: int, silence_ms: int, eager_ms: int) -> None:
    assert wasteful(steps).limited(300, silence_ms) == eager_ms


@pytest.mark.parametrize(
    ("kept", "taken_back", "steps"),
    [
        ([], [100, 100], 0),  # too few to say anything
        ([450, 450], [100], 0),  # exactly a tenth
        ([450, 440], [100], 1),
        ([0, 0, 0], [], 0),
    ],
)
def test_the_share_is_of_all_that_responses_cost(kept: list[int], taken_back: list[int], steps: int) -> None:
    waste = EagerWaste(10)
    for cost in taken_back:
        waste.record(cost, taken_back=True)
    for cost in kept:
        waste.record(cost, taken_back=False)
    assert waste.steps == steps


def test_after_a_step_the_call_is_judged_anew() -> None:
    waste = wasteful(1)
    for _ in range(20):
        waste.record(100, taken_back=False)
    waste.record(100, taken_back=True)
    assert waste.steps == 1
