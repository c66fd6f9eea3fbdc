"""Items that nobody requested, and events of known and unknown items."""

import pytest
from pydantic import JsonValue

from tests.upstream.drive import Drive, Json, object_of

MESSAGE: Json = {"type": "message", "role": "user", "content": []}


def test_an_item_of_unknown_origin_is_shown_once() -> None:
    drive = Drive().ready()
    item: Json = {"id": "item_PX", "type": "message", "role": "system", "content": []}
    for kind in ("added", "added", "done", "done"):
        drive.provider(f"conversation.item.{kind}", item=item)
    assert drive.shown == ["conversation.item.added", "conversation.item.done"]


def test_an_answers_item_that_comes_before_its_response_event_is_shown_once() -> None:
    drive = Drive().ready()
    drive.created()
    item: Json = {"id": "item_P1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    drive.provider("conversation.item.added", item=item)
    drive.message()
    assert drive.shown.count("conversation.item.added") == 1


def test_spoken_items_of_a_provider_that_confirms_no_commit_are_found() -> None:
    drive = Drive().ready()
    drive.utter()
    ours = drive.one("input_audio_buffer.committed")["item_id"]
    item: Json = {"id": "item_PU", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    drive.provider("conversation.item.added", item=item)
    assert object_of(drive.one("conversation.item.added"), "item")["id"] == ours


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("conversation.item.done", {"item": {**MESSAGE, "id": "item_PX"}}),
        ("conversation.item.deleted", {"item_id": "item_PX"}),
        ("conversation.item.truncated", {"item_id": "item_PX"}),
        ("conversation.item.retrieved", {"item": {**MESSAGE, "id": "item_PX"}}),
        ("conversation.item.input_audio_transcription.delta", {"item_id": "item_PX", "delta": "x"}),
    ],
)
def test_news_of_unknown_items_is_left(kind: str, more: Json) -> None:
    drive = Drive().ready()
    drive.provider(kind, **more)
    assert drive.events == []


def test_a_failed_transcription_says_why() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    kind = "conversation.item.input_audio_transcription.failed"
    drive.provider(kind, item_id="item_PU", content_index=0, error={"code": "audio_unintelligible", "message": "?"})
    assert object_of(drive.one(kind), "error")["code"] == "audio_unintelligible"
    assert drive.named(kind)[0].item_id is None


def test_what_a_model_says_about_its_transcript_is_passed_on() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    logprobs: JsonValue = [{"token": "hello", "bytes": [104], "logprob": -0.25}]
    where: Json = {"item_id": "item_PU", "content_index": 0, "logprobs": logprobs}
    kind = "conversation.item.input_audio_transcription"
    drive.provider(f"{kind}.delta", **where, delta="hello")
    drive.provider(f"{kind}.completed", **where, transcript="hello", usage={}, languages=[{"code": "en"}])
    assert drive.one(f"{kind}.delta")["logprobs"] == drive.one(f"{kind}.completed")["logprobs"] == logprobs
    assert drive.one(f"{kind}.completed")["languages"] == [{"code": "en"}]
