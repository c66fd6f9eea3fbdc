"""Turns that are committed and answered before their end is certain."""

from dataclasses import replace

import pytest

from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.commands import (
    AppendAudio,
    CountEagerLimit,
)
from tests.upstream.drive import FRAME, Json
from tests.upstream.eager_calls import AHEAD, USAGE, USER, committed, eager, events_sent, outcomes, paused


def test_at_an_eager_end_the_turn_is_committed_and_answered_and_nothing_is_shown() -> None:
    drive = paused()
    assert drive.sent_types == AHEAD
    committed(drive)
    drive.respond()
    assert drive.shown == ["input_audio_buffer.speech_started"]
    assert not drive.audio
    assert not drive.booked


def test_at_the_end_of_the_turn_all_that_was_held_is_shown_in_order() -> None:
    drive = paused()
    committed(drive)
    drive.created()
    drive.message()
    drive.sound(20)
    drive.stop(hangover_ms=500)
    assert drive.sent_types == AHEAD
    assert drive.shown[:4] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "response.created",
    ]
    assert len(drive.audio) == 1
    assert outcomes(drive) == ["kept"]


def test_an_answer_that_comes_after_the_end_is_shown_as_it_comes() -> None:
    drive = paused()
    drive.stop()
    committed(drive)
    drive.answer()
    assert drive.sent_types == AHEAD
    assert drive.shown.count("response.done") == 1


def test_when_the_caller_speaks_on_the_answer_is_cancelled_and_its_items_and_the_turns_are_deleted() -> None:
    drive = paused()
    committed(drive)
    drive.created()
    drive.message()
    drive.forget().resume()
    assert drive.sent_types == ["response.cancel", "append"]
    drive.done(status="cancelled", usage=USAGE, output=[{"id": "item_P1"}, {"id": "item_P2"}])
    deleted = [event["item_id"] for event in events_sent(drive, "conversation.item.delete")]
    assert deleted == ["item_U1", "item_P1", "item_P2"]
    assert not drive.shown
    assert outcomes(drive) == ["taken_back"]


def test_the_whole_utterance_is_appended_again_and_becomes_one_item() -> None:
    drive = paused()
    drive.forget().resume()
    again = [c.pcm for c in drive.commands if isinstance(c, AppendAudio)]
    assert again == [FRAME * 10]
    drive.speak(5)
    drive.stop()
    assert drive.sent_types[-1] == "input_audio_buffer.commit"


def test_an_answer_that_begins_late_is_cancelled_then() -> None:
    drive = paused()
    drive.resume()
    drive.forget().created()
    assert drive.sent("response.cancel")["response_id"] == "resp_P1"
    drive.sound(20)
    drive.done(status="cancelled")
    assert not drive.sent_types[1:]  # its turn is not confirmed yet
    committed(drive)
    drive.provider("conversation.item.added", item=USER, previous_item_id=None)
    drive.provider("conversation.item.deleted", item_id="item_U1")
    assert drive.sent("conversation.item.delete")["item_id"] == "item_U1"
    assert not drive.shown
    assert not drive.faults


def test_a_turn_is_known_by_its_item_too_where_that_comes_first() -> None:
    drive = paused()
    drive.resume()
    drive.provider("conversation.item.added", item=USER, previous_item_id=None)
    committed(drive)
    assert drive.shown == ["input_audio_buffer.speech_started"]


def test_an_answer_that_was_done_is_not_cancelled() -> None:
    drive = paused()
    committed(drive)
    drive.respond()
    drive.forget().resume()
    assert drive.sent_types == ["conversation.item.delete", "conversation.item.delete", "append"]


@pytest.mark.parametrize("comes", ["audio", "start"])
def test_speech_alone_takes_a_turn_back(comes: str) -> None:
    drive = paused()
    if comes == "audio":
        drive.speak(1)
    else:
        drive.start()
    assert outcomes(drive) == ["taken_back"]


def test_a_new_answer_waits_until_the_old_one_is_undone() -> None:
    drive = paused()
    committed(drive)
    drive.created()
    drive.resume()
    drive.speak(5)
    drive.stop()
    assert "response.create" not in drive.sent_types[drive.sent_types.index("response.cancel") :]
    drive.done(status="cancelled")
    assert drive.sent_types[-2:] == ["conversation.item.delete", "response.create"]


def test_no_second_answer_is_requested_ahead_before_the_first_is_undone() -> None:
    drive = paused()
    drive.resume()
    drive.speak(5)
    drive.forget().pause()
    assert outcomes(drive) == ["refused"]
    assert not drive.sent_types


def test_what_a_taken_back_answer_has_cost_is_booked_as_such() -> None:
    drive = paused(eager(events=("usage",)))
    committed(drive)
    drive.created()
    drive.message()
    drive.sound(100)
    drive.resume()
    drive.sound(100)
    drive.done(status="cancelled", usage=USAGE)
    drive.done(status="cancelled", usage=USAGE)  # once
    exact = [booked for booked in drive.booked if booked.provider_ref]
    assert [booked.provider_ref for booked in exact] == ["taken_back:resp_P1"]
    assert sum(exact[0].meters.values()) == 30
    drive.advance(6)
    assert {"taken_back": 1, "wasted_tokens": 30, "responses": 0, "generated_ms": 200}.items() <= drive.one(
        "hushgate.usage"
    ).items()


def test_contradictory_usage_of_a_taken_back_answer_is_counted() -> None:
    drive = paused()
    drive.created()
    drive.resume()
    drive.done(usage={**USAGE, "total_tokens": 31})
    assert drive.faults == ["usage"]


def test_the_transcription_of_a_taken_back_turn_is_booked_and_not_shown() -> None:
    drive = paused(eager({"audio": {"input": {"transcription": {"model": "whisper-1"}}}}))
    committed(drive)
    drive.forget().resume()
    for seconds in (0.2, 0):
        usage: Json = {"type": "duration", "seconds": seconds}
        drive.provider(
            "conversation.item.input_audio_transcription.completed",
            item_id="item_U1",
            content_index=0,
            transcript="tell me",
            usage=usage,
        )
    assert [(booked.provider_ref, booked.model) for booked in drive.booked] == [("taken_back:item_U1", "whisper-1")]
    assert not drive.shown


def test_a_provider_that_bills_by_duration_has_its_waste_measured_in_audio() -> None:
    drive = eager(capabilities=replace(CAPABILITIES, meter="duration"), eager_waste_percent=10)
    for number in range(3):
        paused(drive)
        drive.created(f"resp_{number}")
        drive.message(f"resp_{number}", f"item_{number}")
        drive.sound(200, f"resp_{number}", f"item_{number}")
        committed(drive, f"item_U{number}")
        drive.resume()
        drive.done(f"resp_{number}", usage=USAGE)
        drive.record(drive.core.utterance_abandoned(now=drive.now))
    assert not drive.booked
    drive.advance(0.1)
    assert [c.limit for c in drive.commands if isinstance(c, CountEagerLimit)] == ["later"]
