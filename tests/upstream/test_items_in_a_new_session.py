"""Items that are repeated in a new session with the provider."""

from pydantic import JsonValue

from services.upstream.core.commands import Reconnect, SendToProvider
from tests.upstream.created_items import DUE_S, LIMITED, MESSAGE, confirm, create, refuse, spoken
from tests.upstream.drive import Drive, core_of, object_of


def reopened(drive: Drive) -> Drive:
    assert any(isinstance(command, Reconnect) for command in drive.forget().advance(DUE_S))
    drive.open()
    return drive


def repeated(drive: Drive) -> list[JsonValue]:
    sent = [command.event for command in drive.commands if isinstance(command, SendToProvider)]
    return [object_of(event, "item")["id"] for event in sent if event["type"] == "conversation.item.create"]


def limited() -> Drive:
    return Drive(core_of(capabilities=LIMITED)).ready()


def test_items_are_repeated_in_the_order_of_the_conversation() -> None:
    drive = limited()
    for item_id, where in (("a", None), ("b", None), ("r", "root"), ("m", "a")):
        create(drive, item_id, previous_item_id=where)
    assert repeated(reopened(drive)) == ["r", "a", "m", "b"]


def test_what_the_old_session_did_not_confirm_is_carried_out_in_the_new() -> None:
    drive = limited()
    create(drive, "a")
    drive.client("conversation.item.delete", item_id="a")
    drive.client("conversation.item.create", item={**MESSAGE, "id": "b"}, event_id="mine")
    reopened(drive)
    assert drive.one("conversation.item.deleted")["item_id"] == "a"
    assert repeated(drive) == ["b"]
    refuse(drive, "conversation.item.create")
    assert drive.error["event_id"] == "mine"


def test_a_refused_deletion_deletes_nothing_later() -> None:
    drive = limited()
    create(drive, "a")
    drive.forget().client("conversation.item.delete", item_id="a")
    refuse(drive, "conversation.item.delete")
    assert repeated(reopened(drive)) == ["a"]


def test_items_that_the_new_session_lacks_keep_their_place() -> None:
    drive = limited()
    create(drive, "a")
    utterance = spoken(drive)
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    drive.created()
    drive.done()
    reopened(drive)
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id=utterance)
    assert drive.sent("conversation.item.create")["previous_item_id"] == "a"
    confirm(drive, "b")
    assert drive.one("conversation.item.added")["previous_item_id"] == utterance
    drive.forget().client("conversation.item.delete", item_id=utterance)
    assert drive.shown == ["conversation.item.deleted"]
    assert drive.sent_types == []


def test_an_item_that_the_new_session_refuses_stays_with_the_client() -> None:
    drive = limited()
    create(drive, "a")
    refuse(reopened(drive), "conversation.item.create")
    assert drive.shown == []
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id="a")
    assert drive.sent("conversation.item.create")["previous_item_id"] == "root"


def test_what_is_requested_before_the_new_session_is_open_is_requested_once() -> None:
    drive = limited()
    create(drive, "a")
    drive.forget().advance(DUE_S)
    drive.client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id="a")
    drive.open()
    assert repeated(drive) == ["a", "b"]
