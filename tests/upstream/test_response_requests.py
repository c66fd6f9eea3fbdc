"""Clients request and cancel responses, and send unknown events."""

import base64

import pytest
from pydantic import JsonValue

from services.upstream.core.command_buffer import MAX_HELD_EVENTS
from services.upstream.core.response_requests import CREATED_TIMEOUT_S
from tests.upstream.drive import Drive, Json, between_sessions, object_of

MESSAGE: Json = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SECOND = base64.b64encode(bytes(48_000)).decode()


def test_a_response_is_asked_for_with_what_may_be_asked() -> None:
    drive = Drive().ready()
    ours = drive.answer()
    reference: JsonValue = [{"type": "item_reference", "id": ours}, MESSAGE]
    wanted: Json = {
        "instructions": "Say goodbye.",
        "metadata": {"client_event_id": "e1"},
        "audio": {"output": {"format": {"type": "audio/pcm"}}},
        "input": reference,
        "tools": None,
    }
    drive.forget().client("response.create", response=wanted)
    assert object_of(drive.sent("response.create"), "response") == {
        "instructions": "Say goodbye.",
        "metadata": {"client_event_id": "e1"},
        "input": [{"type": "item_reference", "id": "item_P1"}, MESSAGE],
    }


@pytest.mark.parametrize(
    ("wanted", "code", "param"),
    [
        ({"temperature": 1}, "unknown_parameter", "response.temperature"),
        ({"model": "cheap"}, "unknown_parameter", "response.model"),
        ({"audio": {"input": {}}}, "unknown_parameter", "response.audio.input"),
        ({"conversation": "mine"}, "invalid_value", "response.conversation"),
        ({"input": ["junk"]}, "invalid_value", "response.input[0]"),
    ],
)
def test_a_response_with_what_nobody_carries_out_is_refused(wanted: Json, code: str, param: str) -> None:
    drive = Drive().ready()
    drive.client("response.create", event_id="mine", response={**wanted, "instructions": "Say goodbye."})
    assert (drive.error["code"], drive.error["param"], drive.error["event_id"]) == (code, param, "mine")
    assert drive.sent_types == []


def test_metadata_is_echoed() -> None:
    drive = Drive().ready()
    drive.client("response.create", response={"metadata": {"client_event_id": "e1"}})
    drive.created(metadata={"client_event_id": "e1"})
    assert object_of(drive.one("response.created"), "response")["metadata"] == {"client_event_id": "e1"}


def test_a_response_that_is_no_object_is_refused() -> None:
    drive = Drive().ready()
    drive.client("response.create", response=7)
    assert drive.error["param"] == "response"


def test_a_second_response_at_a_time_is_refused() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    drive.client("response.create", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("conversation_already_has_active_response", "mine")
    drive.forget().created()
    drive.client("response.create")
    assert drive.error["code"] == "conversation_already_has_active_response"


def test_a_response_that_is_no_part_of_the_conversation_waits_its_turn() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    drive.client("response.create", response={"conversation": "none"})
    assert drive.sent_types == ["response.create"]
    drive.created()
    drive.forget().done()
    assert drive.sent_types == ["response.create"]


def test_a_response_that_is_no_part_of_the_conversation_is_not_interrupted() -> None:
    drive = Drive().ready()
    drive.client("response.create", response={"conversation": "none"})
    drive.start()
    drive.created(conversation_id=None)
    drive.message(part="text")
    drive.start()
    assert "response.cancel" not in drive.sent_types
    assert "conversation.item.added" not in drive.shown
    assert object_of(drive.one("response.created"), "response")["conversation_id"] is None
    drive.provider("response.output_item.done", response_id="resp_P1", output_index=0, item={"id": "item_P1"})
    assert "conversation.item.done" not in drive.shown


def test_too_many_responses_in_wait_are_refused() -> None:
    drive = Drive().ready()
    for _ in range(10):
        drive.client("response.create", response={"conversation": "none"})
    assert drive.error["code"] == "rate_limit_exceeded"
    assert drive.faults == ["backlog"]


def test_a_new_response_may_follow_a_cancelled_one() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    drive.created()
    drive.client("response.cancel")
    drive.forget().client("response.create")
    assert drive.commands == []
    drive.done(status="cancelled")
    assert drive.sent_types == ["response.create"]
    details = object_of(drive.one("response.done"), "response")["status_details"]
    assert details == {"type": "cancelled", "reason": "client_cancelled"}


def test_cancelling_a_response_that_only_sounds_is_answered_here() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=3000)
    drive.forget().client("response.cancel")
    assert (drive.sent_types, drive.cleared) == ([], [item])
    drive.report(item, ms=500, cut=True, by_caller=False)
    assert drive.sent_types == ["conversation.item.truncate"]
    assert object_of(drive.one("response.done"), "response")["status"] == "cancelled"


def test_a_response_is_cancelled_by_name() -> None:
    drive = Drive().ready()
    drive.created()
    ours = object_of(drive.one("response.created"), "response")["id"]
    drive.forget().client("response.cancel", response_id="resp_other")
    assert drive.error["code"] == "response_cancel_not_active"
    drive.client("response.cancel", response_id=ours)
    assert drive.sent("response.cancel")["response_id"] == "resp_P1"


def test_a_response_that_has_not_begun_is_cancelled_when_it_does() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    drive.client("response.cancel")
    drive.forget().created()
    assert drive.sent_types == ["response.cancel"]


@pytest.mark.parametrize("by", ["client", "caller"])
def test_a_response_that_waits_is_cancelled_without_the_provider(by: str) -> None:
    drive = Drive().ready()
    drive.created()
    drive.client("response.cancel")
    drive.client("response.create", response={"metadata": {"client_event_id": "e1"}})
    drive.forget()
    if by == "client":
        drive.client("response.cancel")
    else:
        drive.start()
    assert "response.done" not in drive.shown, "it ends behind the one before it"
    drive.done(status="cancelled")
    assert drive.shown[-3:] == ["response.done", "response.created", "response.done"]
    created = object_of(drive.one("response.created"), "response")
    done = object_of(drive.named("response.done")[-1].event, "response")
    assert created["id"] == done["id"]
    assert created["metadata"] == done["metadata"] == {"client_event_id": "e1"}
    reason = "client_cancelled" if by == "client" else "turn_detected"
    assert done["status_details"] == {"type": "cancelled", "reason": reason}
    assert "response.create" not in drive.sent_types


def test_a_cancelled_response_that_the_provider_refuses_is_cancelled() -> None:
    drive = Drive().ready()
    drive.client("response.create")
    asked = drive.sent("response.create")["event_id"]
    drive.client("response.cancel")
    refusal: Json = {"code": "conversation_already_has_active_response", "message": "busy", "event_id": asked}
    drive.forget().provider("error", error=refusal)
    assert drive.shown == ["response.created", "response.done"]


def test_cancelling_also_cancels_what_was_just_requested_behind_an_answer_that_sounds() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=3000)
    drive.client("response.create")
    drive.forget().client("response.cancel")
    assert drive.cleared == [item]
    drive.created("resp_P2")
    assert drive.sent("response.cancel")["response_id"] == "resp_P2"


def test_cancelling_leaves_responses_outside_the_conversation_alone_unless_they_are_named() -> None:
    drive = Drive().ready()
    drive.client("response.create", response={"conversation": "none"})
    drive.created(conversation_id=None)
    drive.client("response.create", response={"conversation": "none"})
    drive.client("response.cancel", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("response_cancel_not_active", "mine")
    ours = object_of(drive.one("response.created"), "response")["id"]
    drive.forget().client("response.cancel", response_id=ours)
    assert drive.sent_types == ["response.cancel"]
    drive.forget().done(status="cancelled")
    assert drive.sent_types == ["response.create"]


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_request_that_the_provider_never_answers_comes_to_an_end(cancelled: bool) -> None:  # noqa: FBT001 - a case
    drive = Drive().ready()
    drive.client("response.create", event_id="mine")
    if cancelled:
        drive.client("response.cancel")
    drive.forget().advance(CREATED_TIMEOUT_S)
    assert drive.faults == ["response_timeout"]
    if cancelled:
        assert drive.shown == ["response.created", "response.done"]
    else:
        assert (drive.error["code"], drive.error["event_id"]) == ("response_timeout", "mine")


def test_a_response_that_cannot_be_sent_is_refused() -> None:
    drive = between_sessions()
    for _ in range(MAX_HELD_EVENTS):
        drive.client("conversation.item.create", item=MESSAGE)
    drive.forget().client("response.create", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("rate_limit_exceeded", "mine")


def test_cancelling_nothing_is_refused() -> None:
    drive = Drive().ready()
    drive.client("response.cancel", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("response_cancel_not_active", "mine")


def test_an_unknown_event_is_refused_with_the_known_ones() -> None:
    drive = Drive().ready()
    drive.client("response.please", event_id="mine")
    assert (drive.error["type"], drive.error["param"]) == ("invalid_request_error", "type")
    assert "'session.update'" in str(drive.error["message"])


@pytest.mark.parametrize("event", [None, [], 7, "text"])
def test_what_is_no_object_is_refused(event: JsonValue) -> None:
    drive = Drive().ready()
    drive.record(drive.core.on_client_event(event, now=drive.now))
    assert drive.error["code"] == "invalid_event"


def test_what_clears_the_playout_is_done_by_media_and_only_too_long_a_one_arrives() -> None:
    drive = Drive().ready()
    drive.client("output_audio_buffer.clear", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("invalid_event", "mine")
