"""The client's events wait for the provider, and media gets credit for those that were handled."""

import asyncio
import json
from dataclasses import dataclass, field

from services.contracts.client_event import MAX_EVENT_BYTES
from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.messages import Ended
from services.runtime.bus.client import Bus
from tests.upstream.provider import Json, ProviderSession, ScriptedProvider
from tests.upstream.running_worker import MediaSide, configured_session, running_worker

PIECE = 60_000


@dataclass
class SlowProvider(ScriptedProvider):
    """Reads items only when it may."""

    may_read: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, session: ProviderSession, event: Json) -> None:
        if event["type"] == "conversation.item.create":
            await self.may_read.wait()
        await super().answer(session, event)


def item(number: int, size: int) -> bytes:
    content = [{"type": "input_text", "text": "x" * size}]
    created = {"type": "message", "role": "user", "id": f"item_{number}", "content": content}
    return json.dumps({"type": "conversation.item.create", "item": created}).encode()


async def send_event(media: MediaSide, raw: bytes, position: int = 0) -> int:
    """Send an event in pieces; return the position of the last."""
    for start in range(0, len(raw), PIECE):
        piece = raw[start : start + PIECE]
        position += len(piece)
        flags = Flag.MORE if start + PIECE < len(raw) else NO_FLAGS
        await media.send(Kind.CLIENT_EVENT, piece, position=position, flags=flags)
    return position


async def test_an_event_in_pieces_reaches_the_provider_whole_and_media_gets_credit(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        position = await send_event(media, item(1, 500_000))
        created = await provider_session.until("conversation.item.create")
        assert created["item"] == json.loads(item(1, 500_000))["item"]
        await media.until(lambda frame: frame.kind is Kind.CLIENT_CREDIT and frame.position > position - 70_000)


async def test_events_wait_for_a_provider_that_does_not_read_and_come_in_order(bus: Bus) -> None:
    provider = SlowProvider()
    async with running_worker(bus, provider) as h:
        media = await h.call()
        provider_session = await configured_session(provider)
        position = 0
        for number in range(40):
            position = await send_event(media, item(number, 50_000), position)
        await media.until(lambda frame: frame.kind is Kind.CLIENT_CREDIT)
        provider.may_read.set()
        await media.until(lambda frame: frame.kind is Kind.CLIENT_CREDIT and frame.position > position - 70_000)
        await provider_session.until("conversation.item.create", 40)
        created = [event["item"] for event in provider_session.events if event["type"] == "conversation.item.create"]
        assert created == [json.loads(item(number, 50_000))["item"] for number in range(40)]


async def test_a_call_ends_at_once_though_its_events_wait(bus: Bus) -> None:
    provider = SlowProvider()
    async with running_worker(bus, provider) as h:
        media = await h.call()
        await configured_session(provider)
        for number in range(80):
            await send_event(media, item(number, 50_000))
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        await h.wait_for_release()
        provider.may_read.set()


async def test_what_is_no_event_is_answered_with_its_id_also_when_media_did_not_read_it(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        await media.send(Kind.CLIENT_EVENT, b'{"event_id": "mine", "type":')
        assert (await media.event("error"))[1]["error"] == {
            "type": "invalid_request_error",
            "code": "invalid_json",
            "message": "The event is not valid JSON (line 1 column 29): send one JSON object as text.",
            "param": None,
            "event_id": "mine",
        }
        await media.send(Kind.CLIENT_EVENT, b'{"type": "output_audio_buffer.clear", "event_id": "long"}')
        error = (await media.event("error"))[1]["error"]
        assert isinstance(error, dict)
        assert error["event_id"] == "long"


async def test_an_event_that_never_ends_is_dropped_and_the_call_goes_on(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        for _ in range(MAX_EVENT_BYTES // 250_000 + 1):
            await media.send(Kind.CLIENT_EVENT, bytes(250_000), flags=Flag.MORE)
        await media.send(Kind.CLIENT_EVENT, b"", flags=NO_FLAGS)
        await media.event("error")
        await media.send(Kind.CLIENT_EVENT, b'{"type": "x", "event_id": "next"}')
        error = (await media.event("error"))[1]["error"]
        assert isinstance(error, dict)
        assert error["event_id"] == "next"


async def test_an_event_that_is_sent_again_after_a_thousand_others_is_not_carried_out_twice(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        first = await media.send(Kind.CLIENT_EVENT, item(0, 1), position=1)
        for position in range(2, 1500):
            await media.send(Kind.CLIENT_EVENT, b'{"type": "response.cancel"}', position=position)
        await media.send_again(first)
        await media.send(Kind.CLIENT_EVENT, item(1, 1), position=1500)
        await provider_session.until("conversation.item.create", 2)
        created = [event["item"] for event in provider_session.events if event["type"] == "conversation.item.create"]
        assert [one["id"] for one in created if isinstance(one, dict)] == ["item_0", "item_1"]
