from dataclasses import replace

import pytest

from services.gate.core.measures import StreamFigures, summary
from services.gate.core.search import Aims, Changes, cost, cross_validate, search

AIMS = Aims(delivered_pct=99.0, cut_pct=10.0)
STREAM = StreamFigures(
    frames=5_000,
    sent_frames=2_400,
    speech_frames=2_000,
    lost_frames=0,
    spoken_s=40,
    turn_s=50,
    silent_frames=3_000,
    false_frames=0,
    false_opens=0,
    turn_end_ms=[500],
    turns=10,
)
GRID = {"HANGOVER": (300.0, 500.0, 900.0), "TAIL": (60.0, 160.0)}


def gate(changes: Changes) -> list[StreamFigures] | None:
    """Two streams whose figures follow simple rules; the second has slow speakers."""
    hangover, tail = changes.get("HANGOVER", 500), changes.get("TAIL", 160)
    if tail > hangover - 200:
        return None
    cut = (int(hangover < 500), 4 * int(hangover < 900))
    return [
        replace(STREAM, sent_frames=2_000 + round(tail), turn_end_ms=[round(hangover)], cut_turns=cuts) for cuts in cut
    ]


def test_what_breaks_a_limit_costs_more_than_it_can_save() -> None:
    fine, lost, cut = (
        cost(summary([stream]), AIMS)
        for stream in (STREAM, replace(STREAM, lost_frames=40, sent_frames=2_000), replace(STREAM, cut_turns=9))
    )
    assert fine == pytest.approx(1.2 + 0.25 + 0.05)
    assert lost > fine + 5
    assert cut > fine + 5


def test_where_nothing_is_spoken_the_sent_share_counts() -> None:
    noise = replace(STREAM, speech_frames=0, spoken_s=0, turn_end_ms=[], turns=0)
    assert cost(summary([noise]), AIMS) == pytest.approx(0.48)


@pytest.mark.parametrize(
    ("members", "chosen"),
    [([0], {"TAIL": 60}), ([1], {"HANGOVER": 900, "TAIL": 60}), ([0, 1], {"HANGOVER": 900, "TAIL": 60})],
)
def test_changes_that_help_are_put_together(members: list[int], chosen: Changes) -> None:
    assert search(GRID, gate, AIMS, members) == chosen


def test_settings_that_contradict_each_other_are_not_chosen() -> None:
    assert search({"TAIL": (400.0,)}, gate, AIMS, [0]) == {}


def test_each_part_is_measured_with_what_was_chosen_on_the_others() -> None:
    found = cross_validate(GRID, gate, AIMS, ["quick", "slow"], folds=5)
    assert found is not None
    assert found.folds == 2
    assert found.chosen == [{"HANGOVER": 900, "TAIL": 60}, {"TAIL": 60}]
    assert found.figures["eot_p50"] == 700  # 900 for the quick one, 500 for the slow one
    assert found.figures["cut_turns_pct"] == 20


def test_copies_of_one_recording_are_not_split() -> None:
    assert cross_validate(GRID, gate, AIMS, ["same", "same"], folds=5) is None
