"""Answers that were requested before a turn's end, and what goes wrong then."""

from dataclasses import replace

from services.contracts.endings import EndReason
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.commands import (
    Reconnect,
)
from tests.upstream.drive import Json
from tests.upstream.eager_calls import AHEAD, USAGE, committed, eager, outcomes, paused


def test_media_that_does_not_say_what_became_of_a_turn_takes_it_back() -> None:
    drive = paused()
    drive.advance(11.9)
    assert not outcomes(drive)
    drive.advance(0.1)
    assert outcomes(drive) == ["taken_back"]


def test_a_refused_commit_leaves_nothing_to_undo() -> None:
    drive = paused()
    commit, create = (drive.sent(kind)["event_id"] for kind in AHEAD[-2:])
    drive.forget().resume()
    for event_id in (commit, create):
        drive.provider("error", error={"type": "invalid_request_error", "message": "No.", "event_id": event_id})
    drive.speak(1)
    drive.stop()
    assert drive.sent_types == ["append", "append", "input_audio_buffer.commit", "response.create"]
    assert "error" not in drive.shown


def test_a_refusal_that_names_no_event_is_about_the_taken_back_request() -> None:
    drive = paused()
    committed(drive)
    drive.forget().resume()
    error: Json = {"type": "invalid_request_error", "message": "No."}
    drive.provider("error", error={**error, "code": "conversation_already_has_active_response"})
    assert drive.sent("conversation.item.delete")["item_id"] == "item_U1"
    assert not drive.shown


def test_other_errors_are_the_clients() -> None:
    drive = paused()
    drive.forget().resume()
    drive.provider("error", error={"type": "server_error", "message": "No.", "code": "overloaded"})
    assert drive.error["code"] == "overloaded"


def test_a_provider_that_does_not_end_a_cancelled_answer_is_given_up() -> None:
    drive = paused()
    committed(drive)
    drive.created()
    drive.resume()
    drive.stop()
    drive.forget().advance(3.9)
    assert not drive.sent_types
    drive.advance(0.1)
    assert drive.sent_types == ["conversation.item.delete", "response.create"]
    assert drive.faults == ["response_timeout"]
    drive.done(usage=USAGE, output=[{"id": "item_P1"}])  # late, and booked
    assert drive.booked[0].provider_ref == "taken_back:resp_P1"
    assert "conversation.item.delete" in drive.sent_types[2:]


def test_a_provider_that_does_not_begin_an_answer_is_given_up_later() -> None:
    drive = paused()
    drive.resume()
    drive.stop()
    drive.forget().advance(14.9)
    assert not drive.sent_types
    drive.advance(0.1)
    assert drive.sent_types == ["response.create"]


def test_a_hang_up_drops_what_was_requested_ahead() -> None:
    drive = paused()
    committed(drive)
    drive.created()
    drive.forget()
    drive.record(drive.core.utterance_abandoned(now=drive.now))
    assert drive.sent_types == ["response.cancel"]
    assert outcomes(drive) == ["taken_back"]


def test_the_end_of_a_call_waits_for_what_the_taken_back_answer_costs() -> None:
    drive = paused()
    committed(drive)
    drive.created()
    drive.record(drive.core.ending(now=drive.now))
    assert not drive.core.is_settled(now=drive.now)
    drive.done(status="cancelled", usage=USAGE)
    assert drive.core.is_settled(now=drive.now)
    assert drive.booked[0].provider_ref == "taken_back:resp_P1"


def test_a_lost_provider_ends_the_call_and_what_it_had_reported_is_booked() -> None:
    drive = paused()
    drive.created()
    drive.done(usage=USAGE)
    drive.record(drive.core.provider_lost(EndReason.PROVIDER_ERROR, "gone", now=drive.now))
    assert "taken_back:resp_P1" in [booked.provider_ref for booked in drive.booked]
    assert "response.created" not in drive.shown


def test_what_was_held_of_other_things_is_shown_when_the_turn_is_taken_back() -> None:
    drive = paused()
    drive.provider("rate_limits.updated", rate_limits=[])
    drive.provider("error", error={"type": "server_error", "message": "No.", "code": "overloaded"})
    assert "error" not in drive.shown
    drive.resume()
    assert drive.error["code"] == "overloaded"
    assert "rate_limits.updated" not in drive.shown


def test_the_connection_is_not_replaced_while_something_is_being_undone() -> None:
    drive = eager(capabilities=replace(CAPABILITIES, session_limit_s=480))
    drive.advance(359)
    paused(drive)
    committed(drive)
    drive.resume()
    drive.record(drive.core.utterance_abandoned(now=drive.now))
    drive.forget().advance(2)
    assert Reconnect() not in drive.commands
    drive.created()
    drive.done(status="cancelled")
    drive.advance(0.1)
    assert Reconnect() in drive.commands
