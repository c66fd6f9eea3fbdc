from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Done, Ended, UtteranceEnd, expect
from services.media.core.commands import EndCall
from services.media.core.conversation.conversation import TELL_S
from services.media.core.conversation.deadlines import SETUP_S
from tests.media.drawn import Drawn, kinds, shown, ups


def test_a_worker_ends_the_call_with_its_reason() -> None:
    commands = Drawn().frame(Kind.ENDED, payload=Ended(reason=EndReason.PROVIDER_REFUSED).encode())
    assert commands == [EndCall(EndReason.PROVIDER_REFUSED, by_worker=True)]


def refused_before_the_channel_opens() -> Drawn:
    """Return a call of which the worker has said why it ends, and ended it, during the set-up."""
    drawn = Drawn()
    assert drawn.event({"type": "error"}) == []
    assert drawn.frame(Kind.ENDED, payload=Ended(reason=EndReason.PROVIDER_REFUSED).encode()) == []
    return drawn


def test_a_call_that_ends_during_the_set_up_waits_for_the_channel_to_say_why() -> None:
    drawn = refused_before_the_channel_opens()
    *told, ended = drawn.call.channel_opened()
    assert [event["type"] for event in shown(told)] == ["error"]
    assert ended == EndCall(EndReason.PROVIDER_REFUSED, by_worker=True)


def test_a_client_whose_channel_never_opens_is_not_waited_for_long() -> None:
    drawn = refused_before_the_channel_opens()
    assert drawn.call.on_timer(now=drawn.now + TELL_S - 0.1) == []
    assert drawn.call.on_timer(now=drawn.now + TELL_S) == [EndCall(EndReason.PROVIDER_REFUSED, by_worker=True)]


def test_a_client_without_a_channel_is_waited_for_only_during_the_set_up() -> None:
    drawn = Drawn()
    drawn.event({"type": "session.created"})
    drawn.now += SETUP_S
    commands = drawn.frame(Kind.ENDED, payload=Ended(reason=EndReason.PROVIDER_ERROR).encode())
    assert commands == [EndCall(EndReason.PROVIDER_ERROR, by_worker=True)]


def test_an_ending_that_cannot_be_read_is_an_ending() -> None:
    commands = Drawn().frame(Kind.ENDED, payload=Done().encode())
    assert commands[-1] == EndCall(EndReason.PROVIDER_ERROR, by_worker=True)


def test_we_are_alive_at_once_and_after_a_second_of_nothing_else() -> None:
    drawn = Drawn()
    assert kinds(drawn.call.on_timer(now=100.0)) == [Kind.ALIVE]
    assert drawn.call.on_timer(now=100.9) == []
    drawn.call.on_client_message('{"type":"x"}', now=100.95)
    assert drawn.call.on_timer(now=101.5) == []
    assert kinds(drawn.call.on_timer(now=101.95)) == [Kind.ALIVE]


def test_a_leg_that_does_not_connect_within_10_s_ends_the_call() -> None:
    drawn = Drawn()
    drawn.now = 106.0
    drawn.frame(Kind.ALIVE)
    assert not any(isinstance(command, EndCall) for command in drawn.call.on_timer(now=109.9))
    assert drawn.call.on_timer(now=110.0) == [EndCall(EndReason.SETUP_TIMEOUT)]


def test_a_worker_that_is_silent_for_5_s_ends_the_call() -> None:
    drawn = Drawn()
    drawn.call.media_connected()
    drawn.now = 103.0
    drawn.frame(Kind.ALIVE)
    assert not any(isinstance(command, EndCall) for command in drawn.call.on_timer(now=107.9))
    assert drawn.call.on_timer(now=108.0) == [EndCall(EndReason.PROVIDER_ERROR)]


def test_silence_while_the_bus_is_away_is_nobodys_fault_for_a_minute() -> None:
    drawn = Drawn(max_seconds=600)
    drawn.call.media_connected()
    assert not any(isinstance(command, EndCall) for command in drawn.call.on_timer(now=104.0, bus=False))
    assert not any(isinstance(command, EndCall) for command in drawn.call.on_timer(now=163.9, bus=False))
    assert drawn.call.on_timer(now=164.0, bus=False) == [EndCall(EndReason.INTERNAL)]


def test_a_call_ends_at_its_longest_duration() -> None:
    drawn = Drawn()
    drawn.call.media_connected()
    drawn.now = 159.0
    drawn.frame(Kind.ALIVE)
    assert drawn.call.on_timer(now=160.0) == [EndCall(EndReason.MAX_SECONDS)]


def test_missing_packets_end_an_utterance_by_the_wall_clock() -> None:
    drawn = Drawn()
    drawn.draw("sss")
    commands = drawn.call.on_timer(now=drawn.now + 1)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.UTTERANCE_END]
    assert expect(UtteranceEnd, ups(commands, Kind.UTTERANCE_END)[0].payload).reason == "no_packets"


def test_the_end_closes_the_utterance_tells_the_worker_and_shows_who_asked() -> None:
    drawn = Drawn(events=("gate",))
    drawn.call.channel_opened()
    drawn.draw("sss")
    commands = drawn.call.end(EndReason.MAX_SECONDS, now=drawn.now)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.UTTERANCE_END, Kind.ENDED]
    assert shown(commands)[-1]["reason"] == "max_seconds"
    assert shown(commands)[-1]["type"] == "hushgate.ended"


def test_a_worker_that_ended_the_call_is_not_told() -> None:
    drawn = Drawn()
    assert drawn.call.end(EndReason.PROVIDER_ERROR, now=drawn.now, by_worker=True) == []


def test_after_the_end_nothing_is_accepted() -> None:
    drawn = Drawn()
    drawn.call.end(EndReason.HANGUP, now=drawn.now)
    assert drawn.call.end(EndReason.HANGUP, now=drawn.now) == []
    assert drawn.draw("sss") == []
    assert drawn.call.on_client_message('{"type":"x"}', now=drawn.now) == []
    assert drawn.frame(Kind.ALIVE) == []
    assert drawn.call.on_timer(now=drawn.now) == []
