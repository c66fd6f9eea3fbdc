"""Barge-ins that are judged, in a conversation: when the answer is held, goes on, or is stopped."""

from dataclasses import replace

import pytest

from services.contracts.audio import DOWN_FRAME_SAMPLES, PcmFrame
from services.contracts.frame import Kind
from services.contracts.messages import PlayoutReport, TurnDetection, UtteranceStart, expect
from services.media.core.commands import CallCommand, CountGateOpen, CountJudged
from services.media.core.speech.barge_in import BargeInConfig
from services.media.core.speech.gate import JudgedOnset, VadGate
from tests.media.drawn import GATE, B, Drawn, kinds, shown, types, ups

JUDGED = replace(GATE, barge_in=BargeInConfig(hold_frames=2, speech_frames=3, end_frames=4, max_hold_frames=20))


def answering(*, shows: bool = False, frames: int = 100) -> Drawn:
    drawn = Drawn(gate=JUDGED, events=("gate",) if shows else ())
    drawn.answering(frames)
    return drawn


def judged(commands: list[CallCommand]) -> list[str]:
    return [command.outcome for command in commands if isinstance(command, CountJudged)]


def plays(drawn: Drawn) -> bool:
    """Pull a frame, after the fade; return whether it is of the answer."""
    drawn.call.pull(now=drawn.now)
    pulled, _ = drawn.call.pull(now=drawn.now)
    drawn.now += 0.04
    return pulled is not None and pulled.item_id is not None


def test_speech_holds_the_answer_and_then_stops_it() -> None:
    drawn = answering()
    drawn.draw(">" * 10 + "...")
    assert drawn.draw("vv") == []
    assert not plays(drawn)
    commands = drawn.draw("vv")
    assert judged(commands) == ["speech"]
    assert types(commands) == ["output_audio_buffer.cleared"]
    assert kinds(commands)[:2] == [Kind.PLAYOUT_REPORT, Kind.UTTERANCE_START]
    assert not drawn.call.down.playout.is_held


def test_the_whole_onset_and_its_pre_roll_are_sent() -> None:
    drawn = answering()
    (start,) = ups(drawn.draw(">" + "." * 9 + "v.v.vvv"), Kind.UTTERANCE_START)
    assert expect(UtteranceStart, start.payload).onset_index == 9
    assert start.position == 7


def test_what_was_heard_is_what_was_played_before_the_hold() -> None:
    drawn = answering()
    drawn.draw(">" * 10 + "m" * 10)
    (report,) = ups(drawn.draw("vvv"), Kind.PLAYOUT_REPORT)
    assert report.position == 10 * DOWN_FRAME_SAMPLES
    assert expect(PlayoutReport, report.payload).heard_ms == 200


def test_the_latency_until_silence_is_that_of_the_hold() -> None:
    (opened,) = [command for command in answering().draw(">vvv" + "v") if isinstance(command, CountGateOpen)]
    assert opened.barge_in_stop_s == pytest.approx(0.02)
    assert opened.barge_in_cut_s == pytest.approx(0.04)


def test_a_hum_lets_the_answer_go_on_from_the_same_sample() -> None:
    drawn = answering()
    drawn.draw(">>>>>")
    drawn.draw("mmmmm")
    assert not plays(drawn)
    commands = drawn.draw("....")
    assert judged(commands) == ["backchannel"]
    assert kinds(commands) == []
    pulled, _ = drawn.call.pull(now=drawn.now)
    assert pulled is not None
    assert pulled.start == 5 * DOWN_FRAME_SAMPLES


def test_a_sound_too_short_to_hold_the_answer_is_counted() -> None:
    drawn = answering()
    drawn.draw(">")
    assert drawn.draw("v....") == [CountJudged("noise", None)]


def test_a_client_that_asked_for_it_is_told() -> None:
    drawn = answering(shows=True)
    drawn.draw(">")
    states = [(event["state"], event.get("cause")) for event in shown(drawn.draw("mmmmm...."))]
    assert states == [("held", None), ("resumed", "backchannel")]
    assert [event["state"] for event in shown(drawn.draw("vvvv")) if "state" in event] == ["held", "open", "stopped"]


def test_an_answer_is_not_held_for_longer_than_the_limit_also_when_frames_stop() -> None:
    drawn = answering()
    drawn.draw(">>mm")
    drawn.now += 0.4
    assert judged(drawn.call.on_timer(now=drawn.now)) == []
    drawn.now += 0.2
    assert judged(drawn.call.on_timer(now=drawn.now)) == ["timeout"]
    assert plays(drawn)


def test_a_held_answer_that_is_cleared_leaves_nothing_held() -> None:
    drawn = answering()
    drawn.draw(">>vv")
    drawn.call.on_client_message('{"type":"output_audio_buffer.clear"}', now=drawn.now)
    assert judged(drawn.draw("m")) == ["stopped"]
    drawn.audio(B, 5)
    assert plays(drawn)


def test_an_onset_goes_on_to_open_the_gate_when_the_answer_is_over() -> None:
    drawn = answering(frames=2)
    drawn.draw(">>>")
    assert [type(command) for command in drawn.draw("vv") if isinstance(command, CountGateOpen)] == [CountGateOpen]


def test_a_client_that_is_lost_while_the_answer_is_held_finds_it_going_on() -> None:
    drawn = answering()
    drawn.draw(">>vv")
    assert judged(drawn.call.client_lost(now=drawn.now)) == ["stopped"]
    drawn.call.client_recovered()
    assert plays(drawn)


@pytest.mark.parametrize(
    "turns",
    [
        TurnDetection(automatic=True, interrupt_response=False),
        TurnDetection(automatic=False),
    ],
)
def test_without_interruptions_nothing_is_held(turns: TurnDetection) -> None:
    drawn = Drawn(gate=JUDGED, turns=turns)
    drawn.answering()
    drawn.draw(">")
    commands = drawn.draw("vvvvvv")
    assert judged(commands) == []
    assert plays(drawn)


def test_frames_of_an_open_gate_are_not_judged() -> None:
    drawn = Drawn(gate=JUDGED)
    drawn.draw("vvv")
    drawn.answering()
    drawn.draw(">")
    assert judged(drawn.draw("vvvv")) == []
    assert plays(drawn)


def test_what_the_judge_took_for_an_echo_does_not_open_the_gate_when_the_answer_ends() -> None:
    gate = VadGate(JUDGED)
    for index in range(20):
        gate.on_frame(PcmFrame(index, b""), probability=1.0, level_dbfs=-20, playing=True, judged=JudgedOnset())
    assert gate.on_frame(PcmFrame(20, b""), probability=1.0, level_dbfs=-20) == []
