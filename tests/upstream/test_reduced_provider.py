"""A connector for a provider with another protocol, which can neither cancel nor truncate."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pydantic import JsonValue
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from services.contracts.endings import EndReason
from services.contracts.frame import Flag, Kind
from services.contracts.messages import Ended
from services.contracts.usage import Meter
from services.runtime.bus.client import Bus
from services.upstream.connectors.audio_rates import AudioRates
from services.upstream.connectors.base import ProviderConnection
from services.upstream.core.capabilities import Capabilities
from services.upstream.errors import UpstreamClosedError
from tests.upstream.provider import Json, ScriptedProvider
from tests.upstream.running_worker import running_worker

REDUCED = Capabilities(
    manual_turns=True,
    cancel=False,
    truncate=False,
    delete=False,
    transcription=False,
    tools=False,
    beside=False,
    input_hz=16_000,
    output_hz=16_000,
    meter="tokens",
    session_limit_s=None,
)
OPS = {
    "session.update": "setup",
    "input_audio_buffer.commit": "end_of_speech",
    "input_audio_buffer.clear": "forget_speech",
    "response.create": "answer",
}


@dataclass
class ReducedServer:
    """A server of operations. It answers each `answer` with 100 ms, and with the rest once ``may_go_on`` is set."""

    url: str = ""
    received: list[Json] = field(default_factory=list)
    answers: int = 0
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, socket: ServerConnection) -> None:
        async for message in socket:
            event: Json = json.loads(message)
            self.received.append(event)
            if event["op"] == "setup":
                await self.send_operation(socket, "ready", id="")
            elif event["op"] == "end_of_speech":
                await self.send_operation(socket, "understood", id=f"u{self.answers}")
            elif event["op"] == "answer":
                self.answers += 1
                await self.answer(socket, f"a{self.answers}")

    async def answer(self, socket: ServerConnection, name: str) -> None:
        await self.send_operation(socket, "begin", id=name)
        await self.sound(socket, name, 100)
        await self.may_go_on.wait()
        await self.sound(socket, name, 900)
        await self.send_operation(socket, "end", id=name, tokens=12)

    async def sound(self, socket: ServerConnection, name: str, ms: int) -> None:
        await self.send_operation(socket, "sound", id=name, pcm=base64.b64encode(bytes(32 * ms)).decode())

    async def send_operation(self, socket: ServerConnection, op: str, **fields: JsonValue) -> None:
        await socket.send(json.dumps({"op": op, **fields}))

    def ops(self) -> list[str]:
        return [str(event["op"]) for event in self.received if event["op"] != "speech"]


class ReducedConnection:
    """Translates the Realtime API's events to operations and back."""

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws
        self._rates = AudioRates(REDUCED)
        self._unread: deque[JsonValue] = deque()

    async def append_audio(self, pcm: bytes) -> None:
        audio = base64.b64encode(self._rates.resample_caller_audio(pcm)).decode()
        await self._ws.send(json.dumps({"op": "speech", "pcm": audio}))

    async def send_event(self, event: Json) -> None:
        await self._ws.send(json.dumps({"op": OPS.get(str(event["type"]), event["type"])}))

    async def receive_event(self) -> JsonValue:
        while not self._unread:
            try:
                event: Json = json.loads(await self._ws.recv())
            except ConnectionClosed as exc:
                raise UpstreamClosedError("the provider closed") from exc
            for translated in realtime_events(event):
                self._unread.extend(self._rates.resample_provider_event(translated))
        return self._unread.popleft()


def realtime_events(event: Json) -> list[Json]:
    name = str(event["id"])
    part: Json = {"response_id": name, "item_id": f"item {name}", "output_index": 0, "content_index": 0}
    item: Json = {"id": f"item {name}", "type": "message", "role": "assistant", "content": []}
    match event["op"]:
        case "ready":
            return [{"type": "session.updated", "session": {}}]
        case "understood":
            return [{"type": "input_audio_buffer.committed", "item_id": name}]
        case "begin":
            created: Json = {"type": "response.created", "response": {"id": name, "status": "in_progress"}}
            return [created, {"type": "response.output_item.added", **part, "item": item}]
        case "sound":
            return [{"type": "response.output_audio.delta", **part, "delta": event["pcm"]}]
    usage: Json = {"output_tokens": event["tokens"], "total_tokens": event["tokens"]}
    return [
        {"type": "response.output_audio.done", **part},
        {"type": "response.output_item.done", **part, "item": item},
        {"type": "response.done", "response": {"id": name, "status": "completed", "usage": usage}},
    ]


@dataclass(frozen=True)
class ReducedConnector:
    """Opens sessions with a `ReducedServer`."""

    url: str

    @property
    def capabilities(self) -> Capabilities:
        return REDUCED

    @asynccontextmanager
    async def connect(self, model: str) -> AsyncIterator[ProviderConnection]:
        async with connect(f"{self.url}/{model}") as ws:
            yield ReducedConnection(ws)


@asynccontextmanager
async def running(server: ReducedServer) -> AsyncIterator[ReducedServer]:
    async with serve(server.serve, "127.0.0.1", 0) as listener:
        server.url = f"ws://127.0.0.1:{next(iter(listener.sockets)).getsockname()[1]}"
        yield server


async def test_a_barge_in_stops_an_answer_that_its_provider_can_neither_cancel_nor_truncate(bus: Bus) -> None:
    async with (
        running(ReducedServer()) as server,
        running_worker(bus, ScriptedProvider(), connector=ReducedConnector(server.url)) as h,
    ):
        media = await h.call()
        await media.utter(400)
        first = await media.kind(Kind.AUDIO_DOWN)
        assert first.item_id is not None
        await media.report(first.item_id, ms=60, cut=True)
        _, truncated = await media.event("conversation.item.truncated")
        assert truncated["audio_end_ms"] == 60
        server.may_go_on.set()
        _, done = await media.event("response.done")
        response = done["response"]
        assert isinstance(response, dict)
        assert response["status"] == "cancelled"

        await media.utter(400)  # the call goes on
        await media.until(lambda f: f.kind is Kind.AUDIO_DOWN and Flag.ITEM_END in f.flags)
        second = {f.item_id for f in media.all if f.kind is Kind.AUDIO_DOWN} - {first.item_id}
        assert len(second) == 1
        sound = [f for f in media.all if f.kind is Kind.AUDIO_DOWN]
        assert sum(len(f.payload) for f in sound if f.item_id in second) == 1000 * 48, "resampled, and whole"
        assert sum(len(f.payload) for f in sound if f.item_id == first.item_id) < 100 * 48
        await media.event("response.done")
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        await h.wait_for_release()
    turn = ["end_of_speech", "answer"]
    assert server.ops() == ["setup", *turn, "forget_speech", *turn]
    tokens = [d.meters for _, d in h.usage.events if d.provider_ref]
    assert tokens == [{Meter.TOKENS_TEXT_OUT: 12}] * 2
    assert h.usage.latest(Meter.AUDIO_GENERATED_MS) == 2000
