"""Whole calls of a client that sends more, and worse, than a conversation has: each event is carried out or answered.

The client is stock aiortc, which ignores the window that its peer advertises.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiortc import RTCSessionDescription

from tests.media.clients import AiortcClient
from tests.system.gateway import Up

WAIT_S = 60
Event = dict[str, Any]


@dataclass
class Wire:
    """A call, by the public wire alone."""

    client: AiortcClient
    events: list[Event] = field(default_factory=list)

    def send(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
        self.client.channel.send(json.dumps({"type": kind, **fields}, ensure_ascii=False))

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        """Return the next event that is ``wanted``."""
        async with asyncio.timeout(WAIT_S):
            while True:
                event: Event = json.loads(await self.client.said.get())
                self.events.append(event)
                if wanted(event):
                    return event

    async def event(self, kind: str) -> Event:
        return await self.until(lambda event: event["type"] == kind)

    async def error(self, event_id: str | None) -> Event:
        found = await self.until(lambda event: event["type"] == "error" and event["error"]["event_id"] == event_id)
        error: Event = found["error"]
        return error

    def seen(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]


@asynccontextmanager
async def calling(up: Up, *, locked: tuple[str, ...] = (), **session: Any) -> AsyncIterator[Wire]:  # noqa: ANN401 - JSON
    """Make a call in which only the client speaks, with ``session`` and the locks of its token."""
    client = AiortcClient()
    silent = {"type": "realtime", "audio": {"input": {"turn_detection": None}}, **session}
    async with httpx.AsyncClient(base_url=up.url, headers={"Authorization": f"Bearer {up.tenant_key}"}) as http:
        wanted = {"session": silent, "hushgate": {"locked": [*locked]}}
        minted = await http.post("/v1/realtime/client_secrets", json=wanted)
        await client.peer.setLocalDescription()
        headers = {"Authorization": f"Bearer {minted.json()['value']}", "Content-Type": "application/sdp"}
        answer = await http.post("/v1/realtime/calls", content=client.peer.localDescription.sdp, headers=headers)
        assert answer.status_code == 201, answer.text
        await client.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        wire = Wire(client)
        try:
            await wire.event("session.created")
            yield wire
        finally:
            await http.post(f"{answer.headers['Location']}/hangup")
            await client.close()


def message(text: str) -> Event:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


@pytest.mark.parametrize(
    ("sent", "event_id"),
    [
        ("", None),
        ("rubbish", None),
        ('{"event_id": "mine", "type": "session.update", ', "mine"),
        ("[]", None),
        ("[1, 2]", None),
        ("7", None),
        ("null", None),
        ('{"event_id": "mine"}', "mine"),
        ('{"type": 7, "event_id": "mine"}', "mine"),
        ('{"type": "no.such_event", "event_id": "mine"}', "mine"),
        ('{"type": "conversation.item.create", "event_id": "mine"}', "mine"),
        ('{"type": "x", "event_id": "mine", "deep": ' + "[" * 40 + "]" * 40 + "}", "mine"),
        ('{"type": "x", "event_id": "mine", "many": [' + "1," * 250_000 + "1]}", "mine"),
        (b"", None),
        (b'{"type": "response.create", "event_id": "mine"}', None),
    ],
)
async def test_what_is_no_event_is_answered_and_the_call_goes_on(
    up: Up, sent: str | bytes, event_id: str | None
) -> None:
    async with calling(up) as wire:
        wire.client.channel.send(sent)
        error = await wire.error(event_id)
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        wire.send("conversation.item.create", item=message("and this is one"))
        await wire.event("conversation.item.added")


async def test_a_history_sent_at_once_is_taken_whole_and_in_order(up: Up) -> None:
    async with calling(up) as wire:
        for number in range(1500):
            wire.send("conversation.item.create", item={**message(f"line {number}"), "id": f"old_{number}"})
        await wire.until(lambda event: event["type"] == "conversation.item.done" and event["item"]["id"] == "old_1499")
        added = [event["item"]["id"] for event in wire.seen("conversation.item.added")]
        assert added == [f"old_{number}" for number in range(1500)]
        assert wire.seen("error") == []


async def test_audio_appended_at_once_is_heard_whole(up: Up) -> None:
    async with calling(up) as wire:
        for number in range(500):
            pcm = number.to_bytes(2, "little") * 240
            wire.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())
        wire.send("input_audio_buffer.commit")
        await wire.event("conversation.item.added")
        assert wire.seen("error") == []
        async with httpx.AsyncClient(base_url=up.service("rehearsal")) as http:
            billed = (await http.get("/billing")).json()["sessions"]
        assert billed[-1]["audio_received_ms"] >= 5000


@pytest.mark.parametrize(
    "content",
    [
        {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 5_000_000},
        {"type": "input_text", "text": "привет " * 400_000},
    ],
    ids=["picture", "text"],
)
async def test_a_long_message_is_taken_whole_and_the_call_goes_on(up: Up, content: Event) -> None:
    async with calling(up) as wire:
        wire.send("conversation.item.create", event_id="long", item={**message(""), "content": [content]})
        answer = await wire.until(lambda event: event["type"] in ("conversation.item.added", "error"))
        if answer["type"] == "error":  # a provider that does not take it, or an event that would be as long
            assert answer["error"]["event_id"] == "long" or answer["error"]["code"] == "event_too_large"
        wire.send("no.such_event", event_id="after")
        await wire.error("after")


async def test_a_flood_of_rubbish_is_answered_slowly_and_the_call_goes_on(up: Up) -> None:
    async with calling(up) as wire:
        for number in range(130):
            wire.client.channel.send(f'{{"event_id": "bad_{number}"')
        await wire.error("bad_129")
        assert [event["error"]["event_id"] for event in wire.seen("error")] == [f"bad_{n}" for n in range(130)]
        wire.send("conversation.item.create", item=message("and this is one"))
        await wire.event("conversation.item.added")
