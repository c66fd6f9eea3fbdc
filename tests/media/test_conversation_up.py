import pytest

from services.contracts.audio import UP_FRAME_BYTES
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.messages import UtteranceEnd, UtteranceStart, expect
from services.media.core.commands import CountDropped, CountGateClose, SendUp
from tests.media.drawn import Drawn, dropped, kinds, ups


def test_an_utterance_goes_up_between_its_start_and_its_end_two_frames_to_a_message() -> None:
    commands = Drawn().draw("...ss....")
    assert kinds(commands) == [Kind.UTTERANCE_START, Kind.AUDIO_UP, Kind.AUDIO_UP, Kind.AUDIO_UP, Kind.UTTERANCE_END]
    audio = ups(commands, Kind.AUDIO_UP)
    assert [(up.position, len(up.payload) // UP_FRAME_BYTES, up.flags) for up in audio] == [
        (1, 2, Flag.PRE_ROLL),
        (3, 2, NO_FLAGS),
        (5, 1, NO_FLAGS),
    ]
    (start,), (end,) = ups(commands, Kind.UTTERANCE_START), ups(commands, Kind.UTTERANCE_END)
    assert (start.position, expect(UtteranceStart, start.payload).onset_index) == (1, 3)
    assert (end.position, expect(UtteranceEnd, end.payload).speech_end_index) == (6, 5)
    (closed,) = [command for command in commands if isinstance(command, CountGateClose)]
    assert (closed.reason, closed.index) == ("speech_end", end.position)


def test_an_odd_pre_roll_is_not_mixed_with_speech() -> None:
    audio = ups(Drawn().draw(".ss"), Kind.AUDIO_UP)
    assert [(up.position, up.flags) for up in audio] == [(0, Flag.PRE_ROLL), (1, NO_FLAGS)]


def test_frames_that_do_not_follow_each_other_are_not_put_together() -> None:
    drawn = Drawn()
    drawn.draw(".sss")
    drawn.index += 5
    audio = ups(drawn.draw("s"), Kind.AUDIO_UP)
    assert [up.position for up in audio] == [3]


def test_a_client_event_does_not_overtake_audio() -> None:
    drawn = Drawn()
    drawn.draw("sss")
    commands = drawn.call.on_client_message('{"type": "input_audio_buffer.commit"}', now=drawn.now)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.UTTERANCE_END, Kind.CLIENT_EVENT]
    assert commands[-1] == SendUp(Kind.CLIENT_EVENT, 3, b'{"type": "input_audio_buffer.commit"}')


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{}", "client_event_binary"),
        ("x" * 200_000, "client_event_too_long"),
        ("{", "client_event_malformed"),
        ("[]", "client_event_malformed"),
        ('{"type": 3}', "client_event_malformed"),
        ('{"type": "\ud800"}', "client_event_malformed"),
        ("[" * 100_000, "client_event_malformed"),
        ('{"type":"hushgate.client_stats"}', "client_event_malformed"),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":NaN}', "client_event_malformed"),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":"9"}', "client_event_malformed"),
    ],
)
def test_what_is_no_event_is_dropped_with_a_reason(message: str | bytes, reason: str) -> None:
    drawn = Drawn()
    assert drawn.call.on_client_message(message, now=drawn.now) == [CountDropped(reason)]  # type: ignore[arg-type]


def test_a_flood_of_events_is_cut_and_recovers() -> None:
    drawn = Drawn()
    said = [drawn.call.on_client_message('{"type":"x"}', now=drawn.now) for _ in range(300)]
    assert sum(dropped(commands) == ["client_event_too_many"] for commands in said) == 100
    assert dropped(drawn.call.on_client_message('{"type":"x"}', now=drawn.now + 1)) == []


def test_a_client_that_reports_its_jitter_buffer_changes_what_was_heard_and_nothing_goes_up() -> None:
    drawn = Drawn()
    stats = '{"type":"hushgate.client_stats","jitter_buffer_ms":100.5,"round_trip_ms":40}'
    assert drawn.call.on_client_message(stats, now=drawn.now) == []
    assert drawn.call.down.ear.ms == 120


def test_a_client_that_knows_how_late_its_loudspeaker_is_says_so_too() -> None:
    drawn = Drawn()
    stats = '{"type":"hushgate.client_stats","jitter_buffer_ms":50,"playout_delay_ms":30.2,"round_trip_ms":40}'
    assert drawn.call.on_client_message(stats, now=drawn.now) == []
    assert drawn.call.down.ear.ms == 100
    strange = '{"type":"hushgate.client_stats","jitter_buffer_ms":50,"playout_delay_ms":"late","round_trip_ms":40}'
    assert drawn.call.on_client_message(strange, now=drawn.now) == []
    assert drawn.call.down.ear.ms == 70
