"""When the gate says that a turn has probably ended, and that it goes on."""

from dataclasses import replace

import pytest

from services.contracts.audio import PcmFrame
from services.contracts.frame import Kind
from services.contracts.messages import EagerEnd, UtteranceEnd, expect
from services.contracts.turn_detection import DetectsTurns
from services.media.core.speech.gate import EagerEnded, Forward, GateClosed, GateEvent, GateOpened, TurnResumed, VadGate
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS
from tests.media.drawn import Drawn, kinds, ups
from tests.media.test_gate import SMALL, feed

EAGER = replace(SMALL, hangover_frames=5, eager_frames=3)


def letters(events: list[GateEvent]) -> str:
    names = {GateOpened: "(", GateClosed: ")", Forward: "f", EagerEnded: "e", TurnResumed: "r"}
    return "".join(names[type(event)] for event in events)


@pytest.mark.parametrize(
    ("drawing", "expected"),
    [
        ("ss..", "(fff"),
        ("ss...", "(fffe"),
        ("ss.....", "(fffe)"),
        ("ss...s", "(ffferfff"),
        ("ss..s...", "(fffff" + "fe"),
        ("ss...s...s", "(ffferffffe" + "rfff"),  # in each pause
        ("ss....s.....", "(ffferffff" + "fe)"),
    ],
)
def test_an_eager_end_comes_once_in_each_long_pause_and_is_revoked_by_speech(drawing: str, expected: str) -> None:
    assert letters(feed(VadGate(EAGER), drawing)) == expected


def test_an_eager_end_says_since_when_it_is_silent() -> None:
    events = feed(VadGate(EAGER), "ss...s")
    assert EagerEnded(index=3, speech_end_index=2, silence_ms=60) in events
    assert TurnResumed(index=3) in events


def test_without_eagerness_there_is_none() -> None:
    assert letters(feed(VadGate(replace(EAGER, eager_frames=0)), "ss.....")) == "(fff)"


def test_while_the_tail_is_sent_the_turn_has_not_ended() -> None:
    gate = VadGate(replace(EAGER, tail_frames=4, audible_tail_frames=4))
    assert letters(feed(gate, "ss.....")) == "(ffffff)"


def test_a_doubtful_frame_that_is_sent_revokes_it_for_this_pause() -> None:
    gate = VadGate(replace(EAGER, hangover_frames=8, doubt_frames=9, doubt_probability=0.1))
    events = feed(gate, "ss...")
    for index, probability in enumerate((0.2, 0.0, 0.0, 0.0), 5):
        events += gate.on_frame(PcmFrame(index, b""), probability=probability, level_dbfs=UNKNOWN_DBFS)
    assert letters(events) == "(fffe" + "rffff"


def test_push_to_talk_revokes_it_before_what_was_held_is_sent() -> None:
    gate = VadGate(EAGER)
    feed(gate, "ss...")
    assert letters(gate.configure(replace(EAGER, automatic=False))) == "rff)"


def test_a_calls_turn_detection_moves_it() -> None:
    assert GateConfig().with_turn_detection(DetectsTurns(eager_ms=300)).eager_frames == 15
    assert GateConfig(eager_frames=10).with_turn_detection(DetectsTurns()).eager_frames == 0


def test_both_go_to_the_worker_behind_the_audio_before_them() -> None:
    drawn = Drawn(turns=DetectsTurns(prefix_padding_ms=0, silence_duration_ms=100, eager_ms=60))
    commands = drawn.draw("sss...s.....")
    assert kinds(commands) == [
        Kind.UTTERANCE_START,
        Kind.AUDIO_UP,
        Kind.AUDIO_UP,
        Kind.EAGER_END,
        Kind.TURN_RESUMED,
        Kind.AUDIO_UP,
        Kind.AUDIO_UP,
        Kind.EAGER_END,
        Kind.UTTERANCE_END,
    ]
    (first, second), (resumed,) = ups(commands, Kind.EAGER_END), ups(commands, Kind.TURN_RESUMED)
    assert (first.position, resumed.position) == (4, 4)
    assert expect(EagerEnd, first.payload) == EagerEnd(speech_end_index=3, silence_ms=60)
    (end,) = ups(commands, Kind.UTTERANCE_END)
    assert (second.position, expect(UtteranceEnd, end.payload).hangover_ms) == (end.position, 100)
