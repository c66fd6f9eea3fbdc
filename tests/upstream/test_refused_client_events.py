"""Client events that are not carried out are answered, with their id."""

import pytest
from pydantic import JsonValue

from services.contracts.client_event import RefusedEvent
from services.upstream.core.command_buffer import MAX_EVENT_BYTES, MAX_HELD_EVENTS
from services.upstream.core.commands import PublishEvent, SessionCommand
from services.upstream.core.json_shape import fields, text, text_chars, without_pictures
from tests.upstream.drive import Drive, Json


def errors(commands: list[SessionCommand]) -> list[Json]:
    published = [command.event for command in commands if isinstance(command, PublishEvent)]
    return [fields(event, "error") for event in published if event["type"] == "error"]


def codes(commands: list[SessionCommand]) -> list[tuple[str, str]]:
    return [(text(error, "code"), text(error, "event_id")) for error in errors(commands)]


def user_item(content: JsonValue, **more: JsonValue) -> Json:
    return {"type": "message", "role": "user", "content": content, **more}


def test_what_media_did_not_read_is_refused() -> None:
    drive = Drive().ready()
    refused = RefusedEvent("malformed", "invalid_json", "The event is not valid JSON.", "mine", "type")
    (error,) = errors(drive.record(drive.core.refuse_client_event(refused)))
    assert error == {
        "type": "invalid_request_error",
        "code": "invalid_json",
        "message": "The event is not valid JSON.",
        "param": "type",
        "event_id": "mine",
    }
    assert codes(drive.client("output_audio_buffer.clear", event_id="long")) == [("invalid_event", "long")]


def test_an_event_that_is_nested_too_deeply_is_refused_with_its_id() -> None:
    deep: JsonValue = []
    for _ in range(40):
        deep = [deep]
    assert codes(Drive().ready().client("session.update", event_id="deep", x=deep)) == [("invalid_event", "deep")]


@pytest.mark.parametrize(
    "kind",
    ["conversation.item.create", "conversation.item.retrieve", "conversation.item.delete"],
)
def test_an_event_that_the_provider_cannot_get_is_refused(kind: str) -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item=user_item([{"type": "input_text", "text": "a"}], id="item_1"))
    core = drive.core
    core._commands.close()  # noqa: SLF001 - the provider's session is being replaced
    assert not core.takes_client_events
    for number in range(MAX_HELD_EVENTS):
        core._commands.send_to_provider("x", {"n": number})  # noqa: SLF001
    asked: Json = {"item": user_item([])} if kind.endswith("create") else {"item_id": "item_1"}
    assert codes(drive.client(kind, event_id="mine", **asked)) == [("too_many_events", "mine")]


def test_an_event_about_pictures_that_does_not_fit_comes_without_them() -> None:
    drive = Drive().ready()
    url = "data:image/png;base64," + "A" * MAX_EVENT_BYTES
    content: JsonValue = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "look"}]
    drive.client("conversation.item.create", item=user_item(content, id="item_1"))
    drive.forget().provider("conversation.item.added", item=user_item(content, id="item_1"))
    (added,) = [command.event for command in drive.commands if isinstance(command, PublishEvent)]
    assert fields(added, "item")["content"] == [{"type": "input_image"}, {"type": "input_text", "text": "look"}]


def test_an_event_that_does_not_fit_otherwise_becomes_an_error_that_names_the_item() -> None:
    drive = Drive().ready()
    content: JsonValue = [{"type": "input_text", "text": "x" * MAX_EVENT_BYTES}]
    drive.client("conversation.item.create", item=user_item(content, id="item_1"))
    (error,) = errors(drive.forget().provider("conversation.item.added", item=user_item(content, id="item_1")))
    assert error["code"] == "event_too_large"
    assert "item_1" in text(error, "message")


def test_the_characters_of_an_event_are_those_of_all_its_strings() -> None:
    assert text_chars({"a": ["bc", {"d": "ef"}, 1, None], "gh": True}) == 1 + 2 + 1 + 2 + 2


def test_only_pictures_that_hold_their_data_are_left_out() -> None:
    link: Json = {"type": "input_image", "image_url": "https://example.org/a.png"}
    event: Json = {"type": "x", "item": {"content": [link, "strange"]}}
    assert without_pictures(event) == event
    assert without_pictures({"type": "x", "item": {"content": "strange"}})["type"] == "x"
    assert without_pictures({"type": "x"}) == {"type": "x"}
