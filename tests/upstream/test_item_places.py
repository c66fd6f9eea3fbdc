"""The places of items that the client is told, event by event."""

import pytest

from services.upstream.core.client_requests import CONFIRMATION_S
from services.upstream.core.command_buffer import MAX_HELD_EVENTS
from services.upstream.core.commands import SendToProvider
from services.upstream.core.item_registry import MAX_ITEMS
from tests.upstream.created_items import MESSAGE, confirm, create, refuse, spoken
from tests.upstream.drive import Drive, object_of


def test_items_at_the_beginning_and_in_the_middle_are_told_with_their_place() -> None:
    drive = Drive().ready()
    told = [
        create(drive, item_id, **where)["previous_item_id"]
        for item_id, where in (
            ("a", {}),
            ("b", {"previous_item_id": None}),
            ("r", {"previous_item_id": "root"}),
            ("m", {"previous_item_id": "a"}),
        )
    ]
    assert told == [None, "a", None, "a"]
    drive.forget().utter()
    assert drive.one("input_audio_buffer.committed")["previous_item_id"] == "b"


def test_what_is_not_confirmed_is_no_place_for_the_client_and_one_for_the_provider() -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item={**MESSAGE, "id": "a"})
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id="a")
    assert drive.sent("conversation.item.create")["previous_item_id"] == "a"
    confirm(drive.forget(), "b")
    confirm(drive, "a")
    assert [e.event["previous_item_id"] for e in drive.named("conversation.item.added")] == [None, None]
    assert create(drive, "c")["previous_item_id"] == "b"


def test_done_tells_the_place_that_the_item_has_by_then() -> None:
    drive = Drive().ready()
    create(drive, "a")
    drive.forget().created()
    drive.message()
    assert drive.one("conversation.item.added")["previous_item_id"] == "a"
    create(drive, "b", previous_item_id="a")
    drive.forget().message_done("Hello")
    drive.done()
    assert drive.one("conversation.item.done")["previous_item_id"] == "b"


def test_neighbours_of_a_deleted_item_close_up() -> None:
    drive = Drive().ready()
    for item_id in ("a", "b"):
        create(drive, item_id)
    drive.client("conversation.item.delete", item_id="b")
    drive.provider("conversation.item.deleted", item_id="b")
    assert create(drive, "c")["previous_item_id"] == "a"
    assert create(drive, "b")["previous_item_id"] == "c", "its id is free again"


@pytest.mark.parametrize("is_refused", [False, True])
def test_an_item_that_is_being_deleted_can_be_created_anew(is_refused: bool) -> None:  # noqa: FBT001 - a parameter
    drive = Drive().ready()
    for item_id in ("a", "b"):
        create(drive, item_id)
    drive.forget().client("conversation.item.delete", item_id="a")
    drive.client("conversation.item.create", item={**MESSAGE, "id": "a"}, previous_item_id="root", event_id="mine")
    assert drive.sent_types == ["conversation.item.delete"]
    if is_refused:
        refuse(drive, "conversation.item.delete")
        refused = object_of(drive.named("error")[-1].event, "error")
        assert (refused["code"], refused["event_id"]) == ("item_create_duplicate_id", "mine")
        return
    drive.provider("conversation.item.deleted", item_id="a")
    assert drive.sent("conversation.item.create")["previous_item_id"] == "root"
    confirm(drive, "a")
    assert drive.one("conversation.item.added")["previous_item_id"] is None
    assert create(drive, "c")["previous_item_id"] == "b"


def test_a_refused_item_leaves_its_place_and_its_id() -> None:
    drive = Drive().ready()
    create(drive, "a")
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"})
    refuse(drive, "conversation.item.create")
    assert drive.shown == ["error"]
    drive.forget().client("conversation.item.create", item=MESSAGE, previous_item_id="b", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("item_create_invalid_previous_item_id", "mine")
    assert create(drive, "b")["previous_item_id"] == "a"


def test_a_refused_commit_takes_the_utterance_back() -> None:
    drive = Drive().ready()
    drive.utter()
    utterance = drive.one("input_audio_buffer.committed")["item_id"]
    refuse(drive, "input_audio_buffer.commit")
    assert drive.one("conversation.item.deleted")["item_id"] == utterance
    assert create(drive, "a")["previous_item_id"] is None


def test_an_item_outside_of_the_conversation_is_no_place_in_it() -> None:
    drive = Drive().ready()
    drive.created(conversation_id=None)
    drive.message(part="text")
    [outside] = drive.items
    drive.forget().client("conversation.item.create", item=MESSAGE, previous_item_id=outside)
    assert drive.error["code"] == "item_create_invalid_previous_item_id"


@pytest.mark.parametrize("is_late", [False, True])
def test_an_answer_stands_before_what_was_said_during_it(is_late: bool) -> None:  # noqa: FBT001 - a parameter
    drive = Drive().ready()
    drive.client("response.create")
    create(drive, "a") if is_late else drive.client("conversation.item.create", item={**MESSAGE, "id": "a"})
    drive.forget().created()
    drive.message()
    assert drive.one("conversation.item.added")["previous_item_id"] == ("a" if is_late else None)


def test_an_item_of_a_stopped_answer_is_taken_for_nothing_else() -> None:
    drive = Drive().ready()
    drive.created()
    drive.client("response.cancel")
    drive.client("conversation.item.create", item={**MESSAGE, "role": "assistant", "id": "mine"})
    drive.forget().message()
    assert drive.shown == []
    assert drive.faults == []


# --- events that name an utterance before the provider has confirmed it


def test_a_place_behind_an_utterance_waits_for_the_providers_id_of_it() -> None:
    drive = Drive().ready()
    utterance = spoken(drive)
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "a"}, previous_item_id=utterance)
    drive.client("conversation.item.create", item={**MESSAGE, "id": "b"})
    drive.client("response.cancel")
    drive.advance(1)
    assert drive.sent_types == []
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    sent = [c.event for c in drive.commands if isinstance(c, SendToProvider)]
    assert [event.get("previous_item_id") for event in sent] == ["item_PU", None]
    confirm(drive, "a")
    assert drive.one("conversation.item.added")["previous_item_id"] == utterance


@pytest.mark.parametrize("verb", ["delete", "retrieve"])
def test_an_utterance_that_is_never_confirmed_is_given_up(verb: str) -> None:
    drive = Drive().ready()
    utterance = spoken(drive)
    drive.forget().client(f"conversation.item.{verb}", item_id=utterance, event_id="mine")
    drive.client("conversation.item.create", item={**MESSAGE, "id": "a"})
    assert drive.commands == []
    drive.advance(CONFIRMATION_S)
    assert (drive.error["code"], drive.error["event_id"]) == (f"item_{verb}_invalid_item_id", "mine")
    assert drive.sent("conversation.item.create")


def test_no_further_event_is_taken_while_many_wait() -> None:
    drive = Drive().ready()
    utterance = spoken(drive)
    drive.forget()
    for _ in range(MAX_HELD_EVENTS):
        assert drive.core.takes_client_events
        drive.client("conversation.item.retrieve", item_id=utterance)
    assert not drive.core.takes_client_events
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    assert drive.sent_types == ["conversation.item.retrieve"] * MAX_HELD_EVENTS
    assert (drive.core.takes_client_events, drive.shown) == (True, [])


def test_what_a_silent_provider_is_asked_for_is_remembered_within_bounds() -> None:
    drive = Drive().ready()
    for number in range(MAX_ITEMS + 1):
        drive.forget().client("conversation.item.create", item={**MESSAGE, "id": f"mine-{number}"})
        drive.client("conversation.item.delete", item_id=f"mine-{number}")
    confirm(drive.forget(), "item_PX")
    assert object_of(drive.one("conversation.item.added"), "item")["id"] == "mine-1", "the first is forgotten"
