import pytest

from services.contracts.endings import EndReason
from services.contracts.usage import Meter
from services.media.core.commands import CountTurn
from tests.media.drawn import A, Drawn, shown, types


def test_the_first_packet_of_an_answer_is_measured_from_the_true_end_of_speech_once() -> None:
    drawn = Drawn(events=("gate",), delay_ms=80)
    drawn.draw("ss....")
    drawn.answering()
    commands = drawn.draw(">>")
    (turn,) = [command for command in commands if isinstance(command, CountTurn)]
    assert turn.latency_s == pytest.approx(0.1 + 0.08)
    (answered,) = [event for event in shown(commands) if event["type"] == "hushgate.gate"]
    assert (answered["state"], answered["latency_ms"], answered["item_id"]) == ("answered", 180, A)


def test_the_gate_is_shown_to_who_asked_for_it() -> None:
    drawn = Drawn(events=("gate",))
    drawn.answering()
    drawn.draw(">")
    events = [event for event in shown(drawn.draw(".sss....")) if event["type"] == "hushgate.gate"]
    assert [event["state"] for event in events] == ["open", "stopped", "closed"]
    opened, stopped, closed = events
    assert (opened["barge_in"], opened["at_ms"], opened["cause"]) == (True, 0, "speech")
    assert (stopped["item_id"], stopped["stop_ms"]) == (A, 40)
    assert (closed["reason"], closed["sent_ms"], closed["gated_ms"]) == ("speech_end", 100, 20)
    assert all(event["event_id"] for event in events)


def test_the_gate_is_not_shown_to_others_whose_turns_count_all_the_same() -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    assert shown(drawn.draw("ss....")) == []
    drawn.audio(A, 3)
    commands = drawn.draw(">>")
    assert shown(commands) == []
    assert [type(command) for command in commands] == [CountTurn]


def test_own_events_wait_for_the_channel() -> None:
    drawn = Drawn(events=("gate",))
    assert shown(drawn.draw("ss")) == []
    assert types(drawn.call.channel_opened()) == ["hushgate.gate"]


def test_meters_are_cumulative_milliseconds() -> None:
    drawn = Drawn()
    drawn.answering(3)
    drawn.draw("......>>")
    drawn.call.end(EndReason.HANGUP, now=drawn.now)
    assert drawn.call.meters(now=103.5) == {
        Meter.AUDIO_GATED_MS: 120,
        Meter.AUDIO_PLAYED_MS: 40,
        Meter.CALL_MS: 3500,
    }
