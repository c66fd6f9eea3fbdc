"""Requests for responses that the client cancels before they begin."""

import pytest

from services.upstream.core.response_requests import CREATED_TIMEOUT_S, MAX_CANCELLED
from services.upstream.core.session_updates import MAX_PENDING_UPDATES
from tests.upstream.drive import Drive, object_of
from tests.upstream.request_states import OUTSIDE, cancelled


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
