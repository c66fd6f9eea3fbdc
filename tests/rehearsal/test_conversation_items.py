import base64
from typing import Any

import pytest

from tests.rehearsal.driver import SessionDriver, done_of, error_of, only, spoken_in, tone, types

STORY = "tell me a long story"
PICTURE = "data:image/png;base64," + base64.b64encode(b"a picture").decode()


def message(role: str, kind: str, **fields: object) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": kind, **fields}]}


def create(client: SessionDriver, item: dict[str, Any], **fields: object) -> list[dict[str, Any]]:
    return client.send("conversation.item.create", item=item, **fields)


def ask_for_story(client: SessionDriver) -> str:
    """A story that was cut after 5 s; returns its item."""
    client.text(STORY)
    client.send("response.create")
    client.wait(0.5)
    item: str = done_of(client.send("response.cancel"))["output"][0]["id"]
    return item


def test_items_are_added_and_done_behind_the_newest() -> None:
    client = SessionDriver()
    first = client.text("one")
    second = client.text("two")
    assert types(second) == ["conversation.item.added", "conversation.item.done"]
    assert first[0]["previous_item_id"] is None
    assert second[0]["previous_item_id"] == second[1]["previous_item_id"] == first[0]["item"]["id"]


def test_items_find_their_place() -> None:
    client = SessionDriver()
    last = create(client, {"id": "item_last", **message("user", "input_text", text="z")})
    root = create(client, message("system", "input_text", text="a"), previous_item_id="root")
    middle = create(client, message("assistant", "output_text", text="b"), previous_item_id=root[0]["item"]["id"])
    assert root[0]["previous_item_id"] is None
    assert middle[0]["previous_item_id"] == root[0]["item"]["id"]
    assert last[0]["item"]["id"] == "item_last"
    lost = create(client, message("user", "input_text", text="?"), previous_item_id="item_gone")
    assert error_of(lost)["code"] == "item_create_invalid_previous_item_id"


def test_a_conversation_can_be_seeded_again() -> None:
    client = SessionDriver()
    for item in (
        message("assistant", "output_audio", transcript="Hi."),
        message("assistant", "output_text", text="Hi."),
        message("assistant", "output_audio", transcript="Hi.", audio=base64.b64encode(tone(100)).decode()),
        message("user", "input_image", image_url=PICTURE, detail="low"),
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call_1"},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "7"},
        message("user", "input_audio", audio=base64.b64encode(tone(100)).decode(), transcript="hey"),
    ):
        assert types(create(client, item)) == ["conversation.item.added", "conversation.item.done"]


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (message("user", "output_text", text="x"), "invalid_value", "item.content[0].type"),
        (message("user", "input_text"), "missing_required_parameter", "item.content[0].text"),
        (message("user", "input_audio"), "missing_required_parameter", "item.content[0].audio"),
        (message("user", "input_audio", audio="?"), "invalid_value", "item.content[0].audio"),
        (message("user", "input_text", text="x", audio=""), "unknown_parameter", "item.content[0].audio"),
        (message("user", "text", text="x"), "invalid_value", "item.content[0].type"),
        (message("user", "output_audio", transcript="x"), "invalid_value", "item.content[0].type"),
        (message("user", "input_image", text="x"), "missing_required_parameter", "item.content[0].image_url"),
        (message("user", "input_image", image_url="https://a.b/c.png"), "invalid_value", "item.content[0].image_url"),
        (message("user", "input_image", image_url=f"{PICTURE}?"), "invalid_value", "item.content[0].image_url"),
        (message("user", "input_image", image_url=PICTURE, detail="x"), "invalid_value", "item.content[0].detail"),
        (message("system", "input_image", image_url=PICTURE), "invalid_value", "item.content[0].type"),
        (message("assistant", "input_text", text="x"), "invalid_value", "item.content[0].type"),
        (message("assistant", "output_audio", audio=""), "missing_required_parameter", "item.content[0].transcript"),
        (message("assistant", "output_text", text="x") | {"Mood": 1}, "unknown_parameter", "item.Mood"),
        (message("robot", "input_text", text="x"), "invalid_value", "item.role"),
        ({"type": "banana"}, "invalid_value", "item.type"),
        ({"type": "mcp_approval_response"}, "invalid_value", "item.type"),
        ({}, "missing_required_parameter", "item.type"),
        ({"type": "function_call_output", "call_id": "c"}, "missing_required_parameter", "item.output"),
    ],
)
def test_items_that_cannot_be_are_refused(item: dict[str, Any], code: str, param: str) -> None:
    error = error_of(create(SessionDriver(), item))
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(("detail", "tokens"), [("low", 85), ("high", 765), ("auto", 765)])
def test_a_picture_is_input_and_is_billed_as_such(detail: str, tokens: int) -> None:
    client = SessionDriver()
    created = create(client, message("user", "input_image", image_url=PICTURE, detail=detail))
    assert only(created, "conversation.item.added")["item"]["content"] == [{"type": "input_image", "detail": detail}]
    first, second = (done_of(client.say("hello"))["usage"]["input_token_details"] for _ in range(2))
    assert first["image_tokens"] == second["image_tokens"] == tokens
    assert second["cached_tokens_details"]["image_tokens"] == tokens
    assert client.session.book.totals()["image_in"] == client.session.book.totals()["image_in_cached"] == tokens


def test_an_item_id_is_used_once() -> None:
    client = SessionDriver()
    item = {"id": "item_a", **message("user", "input_text", text="x")}
    create(client, item)
    assert error_of(create(client, item))["param"] == "item.id"


def test_an_item_can_be_retrieved_and_deleted() -> None:
    client = SessionDriver()
    item = client.text("one")[0]["item"]
    assert only(client.send("conversation.item.retrieve", item_id=item["id"]), "conversation.item.retrieved")
    assert types(client.send("conversation.item.delete", item_id=item["id"])) == ["conversation.item.deleted"]
    for action in ("retrieve", "delete"):
        error = error_of(client.send(f"conversation.item.{action}", item_id=item["id"]))
        assert error["code"] == f"item_{action}_invalid_item_id"


def test_truncation_keeps_the_words_that_were_played() -> None:
    client = SessionDriver()
    item = ask_for_story(client)
    before = client.send("conversation.item.retrieve", item_id=item)[0]["item"]["content"][0]["transcript"]
    cut = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1400)
    assert (cut[0]["type"], cut[0]["audio_end_ms"]) == ("conversation.item.truncated", 1400)
    after = client.send("conversation.item.retrieve", item_id=item)[0]["item"]["content"][0]["transcript"]
    assert before.startswith(after)
    assert after == "Gladly. Settle down,"  # 60 ms a character
    assert client.session.book.truncations == [(item, 1400)]


def test_truncation_makes_the_next_input_smaller() -> None:
    whole, cut = SessionDriver(), SessionDriver()
    ask_for_story(whole)
    cut.send("conversation.item.truncate", item_id=ask_for_story(cut), content_index=0, audio_end_ms=1000)
    used = [done_of(client.say("thanks"))["usage"]["input_token_details"]["audio_tokens"] for client in (whole, cut)]
    assert used[0] > 100
    assert used[1] == 20


def test_truncation_beyond_the_generated_audio_is_refused() -> None:
    client = SessionDriver()
    item = ask_for_story(client)
    generated_ms = len(spoken_in(client.events)) // 48
    too_long = {"item_id": item, "content_index": 0, "audio_end_ms": generated_ms + 1}
    error = error_of(client.send("conversation.item.truncate", **too_long))
    assert (error["code"], error["param"]) == ("invalid_value", "audio_end_ms")
    assert f"{generated_ms}ms is already shorter" in error["message"]
    fits = client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=generated_ms)
    assert types(fits) == ["conversation.item.truncated"]


def test_only_finished_sound_of_the_model_can_be_truncated() -> None:
    client = SessionDriver()
    mine = client.text("x")[0]["item"]["id"]
    written = done_of(client.say("hello"))["output"][0]["id"]
    client.text(STORY)
    running = only(client.send("response.create"), "response.output_item.added")["item"]["id"]

    def refused(item_id: str, index: int = 0) -> str:
        events = client.send("conversation.item.truncate", item_id=item_id, content_index=index, audio_end_ms=0)
        param: str = error_of(events)["param"]
        return param

    assert refused(mine) == "item_id"
    assert refused("item_none") == "item_id"
    assert refused(written) == "content_index"
    assert refused(running, 1) == "content_index"
    assert refused(running) == "item_id"
