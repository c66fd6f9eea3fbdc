"""GateFigures by drawings of 20 ms frames: what was spoken, and what a gate did."""

from itertools import groupby

import pytest

from services.gate.core.measures import GateTrace, Labels, Segment, StreamFigures, measure, merged, summary


def segments(drawing: str, letter: str) -> tuple[Segment, ...]:
    found, at = [], 0
    for value, run in groupby(drawing):
        length = len(list(run))
        if value == letter:
            found.append((at * 0.02, (at + length) * 0.02))
        at += length
    return tuple(found)


def figures(spoken: str, sent: str, is_open: str, *, turns: str = "", late: int = 0) -> StreamFigures:
    """``spoken``: s speech, i ignored. ``sent``: + for what was sent, ``late`` frames later. ``is_open``: o."""
    labels = Labels(segments(spoken, "s"), segments(spoken, "i"), segments(turns or spoken, "t" if turns else "s"))
    delivered = [at + late if letter == "+" else -1 for at, letter in enumerate(sent)]
    return measure(labels, GateTrace(delivered, [letter == "o" for letter in is_open]))


QUIET = "." * 20
SPOKEN = QUIET + "s" * 20 + QUIET
PERFECT = QUIET + "+" * 20 + QUIET


def test_what_is_spoken_and_sent_is_delivered() -> None:
    found = summary([figures(SPOKEN, PERFECT, QUIET + "o" * 30 + "." * 10)])
    assert (found["delivered_pct"], found["billed_ratio"], found["false_opens_per_min"]) == (100, 1, 0)
    assert (found["eot_p50"], found["turns"], found["cut_turns_pct"]) == (200, 1, 0)


def test_speech_that_is_not_sent_is_lost_and_what_else_is_sent_is_billed() -> None:
    sent = "." * 10 + "+" * 5 + "." * 7 + "+" * 22 + "." * 16
    found = figures(SPOKEN, sent, QUIET + "o" * 25 + "." * 15)
    assert (found.lost_frames, found.onset_ms, found.tail_ms) == (2, [40], [0])
    assert summary([found])["billed_ratio"] == pytest.approx(27 / 20)
    assert (found.false_opens, found.false_frames) == (1, 5)


def test_audio_near_speech_and_in_what_is_ignored_is_not_falsely_sent() -> None:
    found = figures("." * 20 + "iiiii" + "." * 15, "." * 15 + "+" * 15 + "." * 10, "." * 40)
    assert (found.false_opens, found.false_frames, found.silent_frames) == (0, 0, 35)


def test_an_utterance_of_which_nothing_is_sent_is_missed() -> None:
    found = figures(SPOKEN, "." * 60, "." * 60)
    assert (found.missed_utterances, found.onset_ms, found.tail_ms, found.turns) == (1, [400], [], 0)


def test_frames_that_are_sent_later_have_a_latency() -> None:
    found = figures(SPOKEN, PERFECT, QUIET + "o" * 30 + "." * 10, late=3)
    assert set(found.frame_latency_ms) == {60}
    assert found.open_latency_ms == [80]


def test_a_close_within_a_turn_cuts_it() -> None:
    spoken = QUIET + "s" * 20 + "." * 30 + "s" * 20 + QUIET
    turn = QUIET + "t" * 70 + QUIET
    is_open = QUIET + "o" * 40 + "." * 12 + "o" * 28 + "." * 10
    found = figures(spoken, "+" * 110, is_open, turns=turn)
    assert (found.turns, found.cut_turns, found.closes_in_turns, found.turn_end_ms) == (1, 1, 1, [200])


def test_a_gate_that_is_open_until_the_next_turn_merges_both() -> None:
    turns = "..ttttt...ttttt....."
    found = figures(turns.replace("t", "s"), "+" * 20, "..ooooooooooooo.....", turns=turns)
    assert (found.turns, found.merged_turns, found.turn_end_ms) == (2, 1, [0])


def test_a_turn_that_the_recording_cuts_off_does_not_count() -> None:
    found = figures("..ssssss", "+" * 8, "oooooooo")
    assert (found.turns, found.onset_ms) == (0, [0])


def test_speech_behind_the_end_of_the_recording_is_left_out() -> None:
    found = measure(Labels(speech=((9.0, 9.5),)), GateTrace([-1] * 5, [False] * 5))
    assert (found.speech_frames, found.onset_ms) == (0, [])


def test_a_turn_that_is_shorter_than_a_pause_is_not_cut() -> None:
    found = figures("....ssss....", "+" * 12, "....o.oo....")
    assert (found.turns, found.cut_turns) == (1, 0)


def test_a_gate_that_is_still_open_at_the_end_has_ended_no_turn() -> None:
    found = figures(SPOKEN, PERFECT, QUIET + "o" * 40)
    assert (found.turns, found.turn_end_ms, found.merged_turns) == (1, [], 0)


def test_nothing_measured_is_none() -> None:
    found = summary([])
    counts = {"minutes", "speech_s", "missed_utt", "utts", "merged", "turns"}
    assert {name for name, value in found.items() if value is not None} == counts


def test_segments_are_merged_over_short_gaps() -> None:
    assert merged([(2.0, 3.0), (0.0, 1.0), (1.1, 1.5), (0.2, 0.4)], gap_s=0.2) == [(0.0, 1.5), (2.0, 3.0)]
