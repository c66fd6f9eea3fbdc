"""One response of the conversation at a time: what becomes of each request in each state."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.response_requests import MAX_BESIDE
from tests.upstream.drive import Drive, Json, core_of, object_of
from tests.upstream.request_states import (
    BUSY,
    FREE,
    OUTSIDE,
    STOPPING,
    TEXT,
    RequestState,
    cancelled,
    cancelled_before_it_began,
    cancelled_twice,
    generated,
    generated_outside,
    refuse,
    requested,
    requested_outside,
    requested_text,
)


def outcome(state: RequestState, request: Callable[[Drive], object]) -> str:
    """Bring a session with an open utterance into a state, request a response, and return what becomes of that."""
    drive = Drive().ready()
    drive.start()
    drive.speak()
    state(drive)
    drive.forget()
    request(drive)
    if drive.named("error"):
        assert drive.error["event_id"] == "second"
        assert "response.create" not in drive.sent_types
        return str(drive.error["code"])
    return "sent" if "response.create" in drive.sent_types else "waits"


def by_client(drive: Drive) -> None:
    drive.client("response.create", event_id="second")


def outside(drive: Drive) -> None:
    drive.client("response.create", event_id="second", response=OUTSIDE)


@pytest.mark.parametrize("request_it", [by_client, outside, Drive.stop])
@pytest.mark.parametrize("state", FREE)
def test_with_nothing_being_made_every_request_is_sent(
    state: RequestState, request_it: Callable[[Drive], object]
) -> None:
    assert outcome(state, request_it) == "sent"


@pytest.mark.parametrize("request_it", [by_client, outside, Drive.stop])
@pytest.mark.parametrize("state", STOPPING)
def test_behind_what_is_stopped_or_outside_the_conversation_every_request_waits(
    state: RequestState, request_it: Callable[[Drive], object]
) -> None:
    assert outcome(state, request_it) == "waits"


@pytest.mark.parametrize("state", BUSY)
def test_a_clients_second_response_of_the_conversation_is_refused(state: RequestState) -> None:
    assert outcome(state, by_client) == "conversation_already_has_active_response"


@pytest.mark.parametrize("request_it", [outside, Drive.stop])
@pytest.mark.parametrize("state", BUSY)
def test_a_turn_and_what_is_outside_the_conversation_wait(
    state: RequestState, request_it: Callable[[Drive], object]
) -> None:
    assert outcome(state, request_it) == "waits"


def text(drive: Drive) -> None:
    drive.client("response.create", event_id="second", response=TEXT)


@pytest.mark.parametrize("state", [*FREE, *BUSY, cancelled, cancelled_before_it_began, cancelled_twice])
def test_text_outside_the_conversation_is_sent_beside_everything_in_it(state: RequestState) -> None:
    assert outcome(state, text) == "sent"


@pytest.mark.parametrize("request_it", [by_client, Drive.stop])
def test_text_outside_the_conversation_holds_nothing_up(request_it: Callable[[Drive], object]) -> None:
    assert outcome(requested_text, request_it) == "sent"


@pytest.mark.parametrize("state", [requested_outside, requested_text])
@pytest.mark.parametrize("request_it", [outside, text])
def test_a_second_one_outside_the_conversation_waits_until_the_first_has_begun(
    state: RequestState, request_it: Callable[[Drive], object]
) -> None:
    assert outcome(state, request_it) == "waits"


def test_few_are_generated_beside_the_conversation() -> None:
    drive = Drive().ready()
    for number in range(MAX_BESIDE):
        requested_text(drive)
        drive.created(f"resp_P{number}", conversation_id=None)
    drive.forget()
    requested_text(drive)
    assert drive.sent_types == []
    drive.done("resp_P1")
    assert drive.sent_types == ["response.create"]


def test_a_provider_that_generates_one_at_a_time_is_asked_one_after_the_other() -> None:
    drive = Drive(core_of(capabilities=replace(CAPABILITIES, beside=False))).ready()
    generated(drive)
    drive.forget()
    requested_text(drive)
    assert drive.sent_types == []
    drive.done()
    assert drive.sent_types == ["response.create"]


def test_a_provider_that_refuses_text_beside_the_conversation_is_asked_when_it_is_free() -> None:
    drive = Drive().ready()
    generated(drive)
    drive.forget()
    requested_text(drive)
    refuse(drive)
    drive.forget().advance(5)
    assert drive.sent_types == []
    drive.done()
    assert drive.sent_types == ["response.create"]


def test_a_refusal_is_that_of_the_request_it_names() -> None:
    drive = Drive().ready()
    requested(drive)
    drive.forget().client("response.create", event_id="text", response=TEXT)
    asked = drive.sent("response.create")["event_id"]
    drive.forget().provider("error", error={"code": "invalid_value", "message": "no", "event_id": asked})
    assert drive.error["event_id"] == "text"
    drive.created()
    assert "conv_" in str(object_of(drive.one("response.created"), "response")["conversation_id"])


@pytest.mark.parametrize("known", [{}, {"conversation_id": None}])
def test_a_provider_that_names_no_conversation_begins_what_was_requested(known: Json) -> None:
    drive = Drive().ready()
    requested(drive)
    drive.created("resp_P1", **known)
    assert object_of(drive.one("response.created"), "response")["conversation_id"] is not None
    drive.done()
    drive.forget()
    requested_text(drive)
    drive.created("resp_P2", **known)
    assert object_of(drive.one("response.created"), "response")["conversation_id"] is None


def test_begins_are_told_apart_by_their_conversation() -> None:
    drive = Drive().ready()
    requested(drive)
    requested_text(drive)
    drive.created("resp_P1", conversation_id=None)
    drive.created("resp_P2", conversation_id="conv_P")
    ids = [object_of(event.event, "response")["conversation_id"] for event in drive.named("response.created")]
    assert [conversation is None for conversation in ids] == [True, False]
    drive.forget()
    requested(drive)
    assert drive.error["code"] == "conversation_already_has_active_response"


def test_a_response_that_nobody_requested_is_of_the_conversation_that_it_names() -> None:
    drive = Drive().ready()
    requested_text(drive)
    drive.created("resp_P1", conversation_id="conv_P")
    assert object_of(drive.one("response.created"), "response")["conversation_id"] is not None
    drive.forget().created("resp_P2", conversation_id=None)
    assert object_of(drive.one("response.created"), "response")["conversation_id"] is None


def test_a_client_that_requests_what_the_turn_has_requested_gets_one_answer() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.client("response.create", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("conversation_already_has_active_response", "mine")
    drive.answer()
    assert drive.sent_types.count("response.create") == 1


def test_a_client_that_requests_what_a_waiting_turn_has_requested_gets_one_answer() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.created()
    drive.utter()  # stops the first answer; its own waits for the end of that
    drive.forget().client("response.create")
    assert drive.error["code"] == "conversation_already_has_active_response"
    drive.done(status="cancelled")
    assert drive.sent_types == ["response.create"]


def test_two_turns_that_wait_have_one_answer() -> None:
    drive = Drive().ready()
    drive.start()
    drive.speak()
    cancelled(drive)
    drive.stop()
    for _ in range(2):
        drive.utter()
    drive.forget().done(status="cancelled")
    drive.answer(rid="resp_P2", iid="item_P2")
    assert drive.sent_types == ["response.create"]


def test_a_turn_is_answered_before_what_waits_outside_the_conversation() -> None:
    drive = Drive().ready()
    drive.start()
    drive.speak()
    generated_outside(drive)
    requested_outside(drive)
    drive.stop()
    drive.forget().done()
    assert "response" not in drive.sent("response.create")
