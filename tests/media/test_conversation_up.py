import pytest

from services.contracts.audio import UP_FRAME_BYTES
from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.messages import UtteranceEnd, UtteranceStart, expect
from services.media.core.commands import CallCommand, CountDropped, CountGateClose, EndCall, SendUp
from services.media.core.conversation import client_inbox
from tests.media.drawn import Drawn, kinds, shown, ups


def ends(commands: list[CallCommand]) -> list[EndReason]:
    return [command.reason for command in commands if isinstance(command, EndCall)]


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
    assert commands[-1] == SendUp(
        Kind.CLIENT_EVENT, client_inbox.MESSAGE_COST + 37, b'{"type": "input_audio_buffer.commit"}'
    )


@pytest.mark.parametrize(
    ("message", "reason", "code", "event_id"),
    [
        (b"{}", "binary", "invalid_event", None),
        ("", "malformed", "invalid_json", None),
        ("{", "malformed", "invalid_json", None),
        ('{"event_id": "mine", "type":', "malformed", "invalid_json", "mine"),
        ("[]", "malformed", "invalid_event", None),
        ("3", "malformed", "invalid_event", None),
        ('{"event_id": "mine"}', "malformed", "missing_required_parameter", "mine"),
        ('{"event_id": 3}', "malformed", "missing_required_parameter", None),
        ('{"type": 3, "event_id": "mine"}', "malformed", "invalid_type", "mine"),
        ('{"type": "\ud800"}', "malformed", "invalid_json", None),
        ("[" * 10_000, "malformed", "invalid_event", None),
        ('{"type":"hushgate.client_stats","event_id":"mine"}', "malformed", "invalid_value", "mine"),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":NaN}', "malformed", "invalid_json", None),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":"9"}', "malformed", "invalid_value", None),
        (
            '{"type":"hushgate.client_stats","event_id":"mine","jitter_buffer_ms":9,"round_trip_ms":-1}',
            "malformed",
            "invalid_value",
            "mine",
        ),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":9,"x":1}', "malformed", "unknown_parameter", None),
        (
            '{"type":"output_audio_buffer.clear","event_id":"mine","item_id":null}',
            "malformed",
            "unknown_parameter",
            "mine",
        ),
    ],
)
def test_what_is_no_event_is_answered_and_counted(
    message: str | bytes, reason: str, code: str, event_id: str | None
) -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    counted, answered = drawn.call.on_client_message(message, now=drawn.now)
    assert counted == CountDropped(f"client_event_{reason}")  # type: ignore[arg-type]
    (event,) = shown([answered])
    assert (event["type"], event["error"]["type"]) == ("error", "invalid_request_error")
    assert (event["error"]["code"], event["error"]["event_id"]) == (code, event_id)
    assert event["error"]["message"]


def test_what_waits_for_the_worker_goes_up_with_its_credit_and_is_told_to_the_leg() -> None:
    drawn = Drawn()
    long = "x" * 300_000
    first = ups(drawn.call.on_client_message(long, now=drawn.now), Kind.CLIENT_EVENT)
    assert first
    assert all(up.flags == Flag.MORE for up in first)
    assert drawn.call.waiting_bytes > 300_000 - sum(len(up.payload) for up in first)
    rest = ups(drawn.frame(Kind.CLIENT_CREDIT, first[-1].position), Kind.CLIENT_EVENT)
    assert rest[-1].flags == NO_FLAGS
    assert b"".join(up.payload for up in first + rest) == long.encode()
    assert drawn.call.waiting_bytes == 0


def test_what_a_rate_holds_back_goes_up_with_the_timer() -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    for _ in range(int(client_inbox.BURST_REFUSALS)):
        assert shown(drawn.call.on_client_message("x", now=drawn.now))
    assert drawn.call.on_client_message("x", now=drawn.now) == []
    assert len(shown(drawn.call.on_timer(now=drawn.now + 0.1))) == 1


def test_the_worker_hears_of_the_call_also_while_only_refusals_are_sent() -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    for _ in range(200):
        drawn.call.on_client_message("x", now=drawn.now)
    assert Kind.ALIVE in [kind for tick in range(15) for kind in kinds(drawn.call.on_timer(now=drawn.now + tick / 10))]


def test_a_leg_that_takes_whatever_its_client_sends_ends_the_call() -> None:
    drawn = Drawn()
    for _ in range(client_inbox.MAX_WAITING_BYTES // 16_000_000):
        assert ends(drawn.call.on_client_message("x" * 16_000_000, now=drawn.now)) == []
    assert ends(drawn.call.on_client_message("x" * 16_000_000, now=drawn.now)) == [EndReason.FLOOD]


def test_the_playout_is_cleared_whatever_waits() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.draw(">>")
    drawn.call.on_client_message("x" * 600_000, now=drawn.now)
    cleared = drawn.call.on_client_message('{"type":"output_audio_buffer.clear"}', now=drawn.now)
    assert Kind.PLAYOUT_REPORT in kinds(cleared)


def test_clearing_with_a_field_that_it_does_not_have_clears_nothing() -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    drawn.answering()
    drawn.draw(">>")
    commands = drawn.call.on_client_message('{"type":"output_audio_buffer.clear","response_id":"r"}', now=drawn.now)
    assert Kind.PLAYOUT_REPORT not in kinds(commands)
    (event,) = shown(commands)
    assert (event["error"]["code"], event["error"]["param"]) == ("unknown_parameter", "response_id")
    drawn.call.on_client_message('{"type":"hushgate.client_stats","jitter_buffer_ms":90,"x":1}', now=drawn.now)
    assert drawn.call.down.ear.ms != 90


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
    unknown = '{"type":"hushgate.client_stats","jitter_buffer_ms":50,"playout_delay_ms":null,"round_trip_ms":40}'
    assert drawn.call.on_client_message(unknown, now=drawn.now) == []
    assert drawn.call.down.ear.ms == 70
    strange = '{"type":"hushgate.client_stats","jitter_buffer_ms":90,"playout_delay_ms":"late","round_trip_ms":40}'
    assert kinds(drawn.call.on_client_message(strange, now=drawn.now)) == []
    assert drawn.call.down.ear.ms == 70
