"""When events come in whole calls: with the sound of their own response, and else when they happen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.callers.caller import Caller
from services.callers.speech import synthesise
from tests.system.gateway import Up

WAIT_S = 60
LISTENING = {"type": "server_vad", "create_response": False, "interrupt_response": False}
ASKED = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
API_ORDER = (
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
)


@asynccontextmanager
async def calling(up: Up, **session: Any) -> AsyncIterator[Caller]:  # noqa: ANN401 - any session
    async with Caller.call(up.url, up.tenant_key, session={"type": "realtime", **session}) as caller:
        await caller.next_event("session.created", timeout_s=WAIT_S)
        yield caller
        await caller.hang_up()


def message(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def ask(caller: Caller, text: str) -> None:
    caller.send_event(message(text))
    caller.send_event({"type": "response.create"})


async def made_and_sounding(caller: Caller, text: str) -> str:
    """Get an answer that is made and still sounds; return the id of its response."""
    ask(caller, text)
    created = await caller.next_event("response.created", timeout_s=WAIT_S)
    await caller.next_event("output_audio_buffer.started", timeout_s=WAIT_S)
    await caller.next_event("rate_limits.updated", timeout_s=WAIT_S)
    return str(created.event["response"]["id"])


def response_of(event: dict[str, Any], items: dict[str, str]) -> str | None:
    if "response" in event:
        return str(event["response"]["id"])
    item = str(event["item"]["id"] if "item" in event else event.get("item_id"))
    if event["type"] == "response.output_item.added":
        items[item] = str(event["response_id"])
    return items.get(item)


def types_of(caller: Caller, response_id: str) -> list[str]:
    """Return the types of a response's events in the order in which they came, each once."""
    items: dict[str, str] = {}
    seen = [received.event for received in caller.events.all]
    return list(dict.fromkeys(str(event["type"]) for event in seen if response_of(event, items) == response_id))


def index(caller: Caller, event_type: str, **fields: Any) -> int:  # noqa: ANN401 - the event's fields
    """Return the place of the only event that has the fields, among all that came."""
    seen = [received.event for received in caller.events.all]
    found = [
        number
        for number, event in enumerate(seen)
        if event["type"] == event_type and all(event.get(name) == value for name, value in fields.items())
    ]
    assert len(found) == 1, (event_type, fields, len(found))
    return found[0]


async def test_a_text_response_beside_the_conversation_comes_while_an_answer_sounds(up: Up) -> None:
    async with calling(up) as caller:
        sounding = await made_and_sounding(caller, "count to ten")
        beside = {"conversation": "none", "output_modalities": ["text"], "input": [ASKED]}
        caller.send_event({"type": "response.create", "response": beside})
        created = (await caller.next_event("response.created", timeout_s=WAIT_S)).event["response"]
        done = (await caller.next_event("response.done", timeout_s=WAIT_S)).event["response"]
        assert (done["id"], done["conversation_id"]) == (created["id"], None)
        assert not caller.events.of("output_audio_buffer.stopped")
        await caller.next_event("response.done", timeout_s=WAIT_S)
    assert [kind for kind in types_of(caller, sounding) if kind in API_ORDER] == list(API_ORDER)


async def test_text_beside_an_answer_that_is_still_generated_is_generated_at_once(up: Up) -> None:
    async with calling(up, instructions="rehearsal faults: rate=110") as caller:
        ask(caller, "count to ten")
        await caller.next_event("output_audio_buffer.started", timeout_s=WAIT_S)
        beside = {"conversation": "none", "output_modalities": ["text"], "input": [ASKED]}
        caller.send_event({"type": "response.create", "response": beside})
        done = (await caller.next_event("response.done", timeout_s=WAIT_S)).event["response"]
        assert done["conversation_id"] is None
        assert len(caller.events.of("rate_limits.updated")) <= 1  # the answer is still being made


async def test_the_next_response_is_created_while_the_answer_before_sounds_and_sounds_after_it(up: Up) -> None:
    async with calling(up) as caller:
        first = await made_and_sounding(caller, "count to ten")
        caller.send_event({"type": "response.create", "response": {"metadata": {"client_event_id": "second"}}})
        created = (await caller.next_event("response.created", timeout_s=WAIT_S)).event["response"]
        assert created["metadata"] == {"client_event_id": "second"}
        assert not caller.events.of("output_audio_buffer.stopped")
        for _ in range(2):
            await caller.next_event("response.done", timeout_s=WAIT_S)
            await caller.next_event("output_audio_buffer.stopped", timeout_s=WAIT_S)
    second = created["id"]
    assert index(caller, "output_audio_buffer.stopped", response_id=first) < index(
        caller, "output_audio_buffer.started", response_id=second
    )
    words = [
        number
        for number, received in enumerate(caller.events.all)
        if received.type == "response.output_audio_transcript.delta" and received.event["response_id"] == second
    ]
    assert min(words) > index(caller, "output_audio_buffer.stopped", response_id=first)
    for response in (first, second):
        assert [kind for kind in types_of(caller, response) if kind in API_ORDER] == list(API_ORDER)


async def test_what_the_caller_does_is_shown_while_an_answer_sounds(up: Up) -> None:
    async with calling(up, audio={"input": {"turn_detection": LISTENING}}) as caller:
        await made_and_sounding(caller, "count to twenty")
        await caller.speak(await synthesise("hello", voice="slt"))
        for kind in ("speech_started", "speech_stopped", "committed"):
            await caller.next_event(f"input_audio_buffer.{kind}", timeout_s=WAIT_S)
        assert not caller.events.of("output_audio_buffer.stopped", "output_audio_buffer.cleared")


async def test_of_two_requests_behind_a_cancelled_answer_one_is_answered(up: Up) -> None:
    async with calling(up, instructions="rehearsal faults: rate=120") as caller:
        ask(caller, "tell me a long story")
        await caller.next_event("output_audio_buffer.started", timeout_s=WAIT_S)
        caller.send_event({"type": "response.cancel"})
        caller.send_event(message("what time is it"))
        caller.send_event({"type": "response.create", "event_id": "first"})
        caller.send_event({"type": "response.create", "event_id": "second"})
        error = (await caller.next_event("error", timeout_s=WAIT_S)).event["error"]
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        for status in ("cancelled", "completed"):
            done = await caller.next_event("response.done", timeout_s=WAIT_S)
            assert done.event["response"]["status"] == status
        assert len(caller.events.of("response.created")) == 2
