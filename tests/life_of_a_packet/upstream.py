"""Traces what a caller's audio passes in a worker on its way to the provider, and the provider's audio on its way back.

A worker on a real nats-server with a provider behind a real WebSocket; the test acts as media.
"""

import asyncio
import base64

from services.contracts.frame import Kind
from services.contracts.messages import UtteranceEnd, UtteranceStart
from services.runtime.bus.client import Bus
from tests.life_of_a_packet.tracing import Entered, PacketPath, traced
from tests.upstream.provider import ProviderSession, ScriptedProvider
from tests.upstream.running_worker import Json, MediaSide, configured_session, running_worker

FIRST_MESSAGES = 5
FIRST_CHUNKS = 3
CHUNK = base64.b64encode(b"\1\0" * 2400).decode()
PART: Json = {"response_id": "resp_P1", "item_id": "item_P1", "output_index": 0, "content_index": 0}


def path_of(roots: list[Entered], start: str, end: str) -> PacketPath | None:
    """Return the calls from the first of ``start`` to the first of ``end``; None if a timer ran among them."""
    if any(root.has("SessionRunner._run_timer") for root in roots):
        return None
    calls = [call for root in roots for call in root.walk()]
    names = [call.name for call in calls]
    first = names.index(start)
    return PacketPath(calls[first : names.index(end, first) + 1])


async def send_audio(media: MediaSide, provider: ProviderSession) -> list[Entered]:
    """Send 40 ms of a caller's audio and return the calls until the provider has it."""
    received = len(provider.pcm)
    with traced() as roots:
        await media.send(Kind.AUDIO_UP, bytes(1280), position=media.index)
        media.index += 2
        while len(provider.pcm) == received:  # noqa: ASYNC110 - its condition tells of events, not of audio
            await asyncio.sleep(0)
    return roots


async def up(media: MediaSide, provider: ProviderSession) -> PacketPath:
    """Trace a message in the middle of an utterance."""
    await media.send(Kind.UTTERANCE_START, UtteranceStart(cause="speech", onset_index=0).encode(), position=0)
    for _ in range(FIRST_MESSAGES):
        await send_audio(media, provider)
    while (
        path := path_of(await send_audio(media, provider), "Bus.subscribe.receive", "OpenAIConnection._write")
    ) is None:
        pass
    end = UtteranceEnd(reason="speech_end", speech_end_index=media.index)
    await media.send(Kind.UTTERANCE_END, end.encode(), position=media.index)
    return path


async def send_chunk(media: MediaSide, provider: ProviderSession) -> list[Entered]:
    """Send 100 ms of the provider's audio and return the calls until media has it."""
    with traced() as roots:
        await provider.send_event("response.output_audio.delta", **PART, delta=CHUNK)
        await media.kind(Kind.AUDIO_DOWN)
    return roots


async def down(media: MediaSide, provider: ProviderSession) -> PacketPath:
    """Trace a chunk in the middle of an answer."""
    await provider.until("response.create")
    item: Json = {"id": "item_P1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    response: Json = {"id": "resp_P1", "status": "in_progress", "output": []}
    await provider.send_event("response.created", response=response)
    await provider.send_event("response.output_item.added", response_id="resp_P1", output_index=0, item=item)
    await provider.send_event("response.content_part.added", **PART, part={"type": "audio", "transcript": ""})
    for _ in range(FIRST_CHUNKS):
        await send_chunk(media, provider)
    while (path := path_of(await send_chunk(media, provider), "ProviderLink._read", "BatchSender.post")) is None:
        pass
    return path


async def trace(bus: Bus) -> dict[str, PacketPath]:
    """Trace one message up and one chunk down."""
    async with running_worker(bus, ScriptedProvider(answer_ms=0)) as h:
        media = await h.call()
        provider = await configured_session(h.provider)
        return {"upstream-up": await up(media, provider), "upstream-down": await down(media, provider)}
