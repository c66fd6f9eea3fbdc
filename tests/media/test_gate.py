from dataclasses import replace

from services.contracts.audio import PcmFrame
from services.media.core.speech.gate import Forward, GateClosed, GateEvent, GateOpened, VadGate
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS
from services.media.core.speech.turn_end import Hangover

SMALL = GateConfig(
    onset_frames=2,
    barge_in_onset_frames=4,
    resume_frames=1,
    hangover_frames=4,
    pre_roll_frames=2,
    tail_frames=1,
    doubt_frames=0,
    max_utterance_frames=100,
)


def feed(gate: VadGate, drawing: str, *, start: int = 0, playing: bool = False) -> list[GateEvent]:
    """Push one frame per letter: `s` is speech, `.` is not."""
    events: list[GateEvent] = []
    for index, letter in enumerate(drawing, start):
        frame = PcmFrame(index, b"")
        events += gate.on_frame(
            frame, probability=float(letter == "s"), level_dbfs=UNKNOWN_DBFS, playing=playing, now=index * 0.02
        )
    return events


def sent(events: list[GateEvent]) -> list[int]:
    return [event.frame.index for event in events if isinstance(event, Forward)]


def drawing_of(events: list[GateEvent]) -> str:
    letters = {GateOpened: "(", GateClosed: ")"}
    return "".join(letters.get(type(event), "f") for event in events)


def test_speech_opens_with_its_pre_roll() -> None:
    events = feed(VadGate(SMALL), "....ss")
    assert events[0] == GateOpened(index=2, onset_index=4, onset_at=0.08)
    assert sent(events) == [2, 3, 4, 5]
    assert [event.pre_roll for event in events if isinstance(event, Forward)] == [True, True, False, False]


def test_a_click_does_not_open() -> None:
    assert feed(VadGate(SMALL), "..s..s..s.") == []


def test_the_pre_roll_at_the_beginning_of_a_call_is_what_there_is() -> None:
    assert sent(feed(VadGate(SMALL), ".ss")) == [0, 1, 2]


def test_silence_of_the_hangover_closes_and_only_the_tail_of_it_is_sent() -> None:
    events = feed(VadGate(SMALL), "ss....")
    assert drawing_of(events) == "(fff)"
    assert events[-1] == GateClosed("speech_end", index=3, speech_end_index=2, speech_end_at=0.02, hangover_ms=80)


def test_a_pause_shorter_than_the_hangover_keeps_the_gate_open_and_is_sent_when_speech_resumes() -> None:
    events = feed(VadGate(SMALL), "ss...s")
    assert sent(events) == [0, 1, 2, 3, 4, 5]
    assert not any(isinstance(event, GateClosed) for event in events)


def test_a_click_in_the_hangover_does_not_resume_when_more_is_asked_for() -> None:
    gate = VadGate(replace(SMALL, resume_frames=2))
    assert drawing_of(feed(gate, "ss.s..")) == "(fff)"
    assert sent(feed(VadGate(replace(SMALL, resume_frames=2)), "ss.ss")) == [0, 1, 2, 3, 4]


def test_while_an_answer_plays_more_speech_is_needed() -> None:
    assert feed(VadGate(SMALL), "..sss.", playing=True) == []
    assert drawing_of(feed(VadGate(SMALL), "..ssss", playing=True)) == "(ffffff"


def test_speech_that_began_during_an_answer_opens_when_the_answer_is_over() -> None:
    gate = VadGate(SMALL)
    assert feed(gate, "..sss", playing=True) == []
    events = feed(gate, "s", start=5)
    assert events[0] == GateOpened(index=0, onset_index=2, onset_at=0.04)


def test_what_was_held_back_at_a_close_is_the_pre_roll_of_speech_that_follows_at_once() -> None:
    gate = VadGate(SMALL)
    feed(gate, "ss....")
    assert sent(feed(gate, "ss", start=6)) == [4, 5, 6, 7]


def test_no_frame_is_ever_sent_twice_and_order_is_kept() -> None:
    indices = sent(feed(VadGate(SMALL), "ss....ss..s.....ss.s....ssss......s.ss"))
    assert indices == sorted(set(indices))


def test_a_long_utterance_is_closed_and_speech_opens_it_again() -> None:
    gate = VadGate(replace(SMALL, max_utterance_frames=4))
    events = feed(gate, "ssssss")
    assert drawing_of(events) == "(ffff)(ff"
    assert sent(events) == [0, 1, 2, 3, 4, 5]
    assert [event.reason for event in events if isinstance(event, GateClosed)] == ["max_utterance"]


def test_missing_packets_close_by_the_wall_clock() -> None:
    gate = VadGate(SMALL)
    feed(gate, "sss")
    assert gate.on_timer(now=0.04 + 0.07) == []
    closed = gate.on_timer(now=0.04 + 0.09)
    assert closed == [GateClosed("no_packets", index=3, speech_end_index=3, speech_end_at=0.04, hangover_ms=90)]
    assert gate.on_timer(now=9) == []


def test_a_closed_gate_does_not_mind_missing_packets() -> None:
    gate = VadGate(SMALL)
    assert gate.on_timer(now=9) == []
    feed(gate, "...")
    assert gate.on_timer(now=9) == []


def test_frames_from_before_a_pause_of_the_packets_are_no_pre_roll() -> None:
    gate = VadGate(SMALL)
    feed(gate, "..")
    assert sent(feed(gate, "ss", start=1000)) == [1000, 1001]
    assert gate.gated_frames == 2


def test_hanging_up_closes_with_its_reason() -> None:
    gate = VadGate(SMALL)
    feed(gate, "ss")
    assert [event.reason for event in gate.hang_up() if isinstance(event, GateClosed)] == ["hangup"]
    assert not gate.is_open
    assert gate.hang_up() == []


def test_sent_and_gated_frames_are_all_frames_when_the_call_is_over() -> None:
    drawing = "...s..ss......sss.s...s....." * 5 + "ss."
    gate = VadGate(SMALL)
    counted = 0
    for index, letter in enumerate(drawing):
        counted += len(sent(feed(gate, letter, start=index)))
        assert gate.sent_frames == counted
        assert gate.sent_frames + gate.gated_frames <= index + 1
    gate.hang_up()
    assert gate.sent_frames + gate.gated_frames == len(drawing)


def test_counts_never_shrink() -> None:
    gate = VadGate(SMALL)
    before = (0, 0)
    for index, letter in enumerate("ss....s.ss.....s.......ss..." * 3):
        feed(gate, letter, start=index)
        after = (gate.sent_frames, gate.gated_frames)
        assert after[0] >= before[0]
        assert after[1] >= before[1]
        before = after


def test_speech_that_is_interrupted_by_a_pause_of_the_packets_begins_anew() -> None:
    gate = VadGate(replace(SMALL, onset_frames=3))
    feed(gate, "ss")
    assert feed(gate, "ss", start=1000) == []
    assert sent(feed(gate, "s", start=1002)) == [1000, 1001, 1002]


def test_a_threshold_is_what_a_frame_must_reach() -> None:
    for threshold, opens in ((0.29, True), (0.31, False)):
        gate = VadGate(replace(SMALL, threshold=threshold, onset_probability=0.3, certain_probability=0.5))
        for index in range(2):
            gate.on_frame(PcmFrame(index, b""), probability=0.3, level_dbfs=UNKNOWN_DBFS, now=index * 0.02)
        assert gate.is_open == opens


def test_a_turn_end_that_was_given_stays_when_the_gate_is_configured() -> None:
    gate = VadGate(SMALL, Hangover(2, 100))
    gate.configure(replace(SMALL, hangover_frames=9))
    assert drawing_of(feed(gate, "ss..")) == "(fff)"


def test_the_hangover_in_seconds_is_that_in_frames() -> None:
    assert GateConfig(hangover_frames=25).hangover_s == 0.5


def test_the_pre_roll_begins_where_the_level_rises_over_the_noise() -> None:
    config = replace(SMALL, pre_roll_frames=1, audible_pre_roll_frames=3, audible_db=6.0)
    for levels, first in (
        ((-60, -60, -60, -60, -40), 5),
        ((-60, -60, -50, -50, -40), 3),
        ((-60, -50, -50, -50, -40), 2),
    ):
        gate = VadGate(config)
        events: list[GateEvent] = []
        for index, level in enumerate((-60.0, *levels, -30.0, -30.0)):
            score = 0.9 if level == -30 else 0.0
            events += gate.on_frame(PcmFrame(index, b""), probability=score, level_dbfs=level, now=index * 0.02)
        assert sent(events)[0] == first
        assert gate.gated_frames == first


def test_of_an_onset_that_does_not_become_certain_two_seconds_are_kept() -> None:
    gate = VadGate(replace(SMALL, barge_in_onset_frames=300))
    for index in range(200):
        assert (
            gate.on_frame(PcmFrame(index, b""), probability=0.9, level_dbfs=-30.0, playing=True, now=index / 50) == []
        )
    events = gate.on_frame(PcmFrame(200, b""), probability=0.9, level_dbfs=-30.0, now=4.0)
    assert sent(events) == list(range(94, 201))
    assert events[0] == GateOpened(index=94, onset_index=94, onset_at=94 / 50)


def test_whoever_opens_the_gate_is_the_caller_also_one_who_is_much_quieter() -> None:
    gate = VadGate(SMALL)
    for index in range(20):
        gate.on_frame(PcmFrame(index, b""), probability=0.9, level_dbfs=-20.0, now=index / 50)
    for index in range(20, 30):
        gate.on_frame(PcmFrame(index, b""), probability=0.0, level_dbfs=-80.0, now=index / 50)
    events = [
        event
        for index in range(30, 40)
        for event in gate.on_frame(PcmFrame(index, b""), probability=0.9, level_dbfs=-50.0, now=index / 50)
    ]
    assert gate.is_open
    assert sent(events) == list(range(28, 40))


def test_speech_in_the_background_does_not_hold_the_gate_open() -> None:
    gate = VadGate(SMALL)
    levels = [-20.0] * 20 + [-40.0] * 4
    events = [
        event
        for index, level in enumerate(levels)
        for event in gate.on_frame(PcmFrame(index, b""), probability=0.9, level_dbfs=level, now=index / 50)
    ]
    assert [event.reason for event in events if isinstance(event, GateClosed)] == ["speech_end"]
