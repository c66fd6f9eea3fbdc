"""One response of the conversation at a time: what becomes of each request in each state."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.response_requests import CREATED_TIMEOUT_S, MAX_BESIDE, MAX_CANCELLED
from services.upstream.core.session_updates import MAX_PENDING_UPDATES
from tests.upstream.drive import Drive, Json, core_of, object_of

OUTSIDE: Json = {"conversation": "none"}
TEXT: Json = {**OUTSIDE, "output_modalities": ["text"]}


def nothing(_: Drive) -> None:
    pass


def requested(drive: Drive) -> None:
    drive.client("response.create")


def requested_outside(drive: Drive) -> None:
    drive.client("response.create", response=OUTSIDE)


def generated(drive: Drive) -> None:
    requested(drive)
    drive.created()


def generated_with_sound(drive: Drive) -> None:
    generated(drive)
    drive.message()
    drive.sound(3000)


def generated_outside(drive: Drive) -> None:
    requested_outside(drive)
    drive.created(conversation_id=None)


def requested_text(drive: Drive) -> None:
    drive.client("response.create", response=TEXT)


def generated_text(drive: Drive) -> None:
    requested_text(drive)
    drive.created(conversation_id=None)


def made_and_sounding(drive: Drive) -> None:
    requested(drive)
    drive.answer(ms=3000)


def cancelled_before_it_began(drive: Drive) -> None:
    requested(drive)
    drive.client("response.cancel")


def cancelled(drive: Drive) -> None:
    generated(drive)
    drive.client("response.cancel")


def cancelled_and_requested(drive: Drive) -> None:
    cancelled(drive)
    requested(drive)


def cancelled_before_it_began_and_requested(drive: Drive) -> None:
    cancelled_before_it_began(drive)
    requested(drive)


def cancelled_twice(drive: Drive) -> None:
    cancelled_and_requested(drive)
    drive.client("response.cancel")


def refuse(drive: Drive) -> None:
    asked = drive.sent("response.create")["event_id"]
    refusal: Json = {"code": "conversation_already_has_active_response", "message": "busy", "event_id": asked}
    drive.provider("error", error=refusal)


def refused_by_the_provider(drive: Drive) -> None:
    requested(drive)
    refuse(drive)


RequestState = Callable[[Drive], None]
FREE: list[RequestState] = [nothing, made_and_sounding, generated_text]
STOPPING: list[RequestState] = [
    cancelled_before_it_began,
    cancelled,
    cancelled_twice,
    requested_outside,
    generated_outside,
]
BUSY: list[RequestState] = [
    requested,
    generated,
    generated_with_sound,
    cancelled_and_requested,
    cancelled_before_it_began_and_requested,
    refused_by_the_provider,
]


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


def seen(drive: Drive) -> list[tuple[str, object]]:
    """The begins and ends of responses that the client has got, each with its metadata."""
    found = [e.event for e in drive.events if e.event["type"] in ("response.created", "response.done")]
    return [(str(e["type"]).removeprefix("response."), object_of(e, "response").get("metadata")) for e in found]


def ask(drive: Drive, number: int) -> None:
    drive.client("response.create", response={"metadata": {"n": str(number)}})


def in_turn(count: int) -> list[tuple[str, object]]:
    return [(kind, {"n": str(number)}) for number in range(count) for kind in ("created", "done")]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("begun", [False, True])
def test_cancelled_requests_begin_and_end_in_their_order(count: int, *, begun: bool) -> None:
    drive = Drive().ready()
    for number in range(count):
        ask(drive, number)
        if begun and not number:
            drive.created(metadata={"n": "0"})
        drive.client("response.cancel")
    assert seen(drive) == in_turn(1)[: int(begun)]
    if not begun:
        drive.created(metadata={"n": "0"})
    drive.done(status="cancelled")
    assert (seen(drive), drive.sent_types.count("response.create")) == (in_turn(count), 1)
    assert not drive.named("error")


def test_a_cancelled_request_ends_behind_one_whose_sound_is_being_cut() -> None:
    drive = Drive().ready()
    ask(drive, 0)
    drive.created(metadata={"n": "0"})
    drive.message()
    drive.sound(3000)
    drive.client("response.cancel")
    ask(drive, 1)
    drive.client("response.cancel")
    ask(drive, 2)
    drive.done(status="cancelled")
    assert (seen(drive), drive.sent_types.count("response.create")) == (in_turn(1)[:1], 1)
    drive.report(drive.items[0], ms=100, cut=True, by_caller=False)
    assert seen(drive) == in_turn(2)
    drive.advance(0.1)
    assert drive.sent_types.count("response.create") == 2


def test_a_cancelled_request_ends_behind_one_that_the_provider_never_begins() -> None:
    drive = Drive().ready()
    for number in range(2):
        ask(drive, number)
        drive.client("response.cancel")
    drive.advance(CREATED_TIMEOUT_S)
    assert seen(drive) == in_turn(2)


def test_cancelled_requests_that_wait_are_limited_and_further_ones_wait_for_them() -> None:
    drive = Drive().ready()
    count = MAX_CANCELLED + 5
    for number in range(count):
        ask(drive, number)
        drive.client("response.cancel")
    drive.client("response.cancel", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("response_cancel_not_active", "mine")
    drive.created(metadata={"n": "0"})
    drive.done(status="cancelled")
    assert (seen(drive), drive.sent_types.count("response.create")) == (in_turn(count), 1)


def test_a_turn_that_was_cancelled_while_it_waited_keeps_its_place_before_the_next_turn() -> None:
    drive = Drive().ready()
    drive.start()
    drive.speak()
    cancelled(drive)
    drive.stop()
    drive.client("response.cancel")
    drive.utter()
    drive.done(status="cancelled")
    assert [kind for kind, _ in seen(drive)] == ["created", "done", "created", "done"]
    assert drive.sent_types.count("response.create") == 2


def test_a_request_that_waits_behind_updates_is_cancelled_in_its_place() -> None:
    drive = Drive().ready()
    for number in range(MAX_PENDING_UPDATES + 1):
        drive.client("session.update", session={"instructions": str(number)})
    ask(drive, 0)
    drive.client("response.create", response=OUTSIDE)
    drive.client("response.create", response={"nonsense": 1}, event_id="wrong")
    drive.client("response.cancel")
    assert not drive.named("error")
    drive.client("response.cancel", response_id="resp_unknown", event_id="mine")
    assert drive.error["event_id"] == "mine"
    drive.forget()
    ask(drive, 1)
    drive.provider("session.updated", session={"instructions": "0"})
    assert (seen(drive), drive.error["event_id"]) == (in_turn(1), "wrong")
    assert drive.sent_types == ["session.update", "response.create"]
    assert drive.sent("response.create")["response"] == OUTSIDE
