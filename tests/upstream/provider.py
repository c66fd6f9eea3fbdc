"""A provider for tests: a real WebSocket server that answers by the Realtime API and records what it receives."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count

from pydantic import JsonValue
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

Json = dict[str, JsonValue]


@dataclass
class ProviderSession:
    """What one session has received."""

    socket: ServerConnection
    path: str
    authorization: str | None
    events: list[Json] = field(default_factory=list)
    pcm: bytearray = field(default_factory=bytearray)
    committed_ms: list[float] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def types(self) -> list[str]:
        return [str(e["type"]) for e in self.events if e["type"] != "input_audio_buffer.append"]

    async def until(self, kind: str, times: int = 1) -> Json:
        """Wait for the n-th event of a type."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: [e["type"] for e in self.events].count(kind) >= times)
        return [e for e in self.events if e["type"] == kind][times - 1]

    async def send_event(self, kind: str, **fields: JsonValue) -> None:
        await self.socket.send(json.dumps({"type": kind, "event_id": "event_theirs1", **fields}))


def _session_created() -> Json:
    return {"type": "session.created", "event_id": "event_theirs0", "session": {"id": "sess_P"}}


@dataclass
class ScriptedProvider:
    """The server; ``answer_ms`` of audio per response, 0: the test sends the events of responses itself."""

    url: str = ""
    answer_ms: int = 400
    status: HTTPStatus | None = None  # refuse the handshake
    first_event: Json | None = field(default_factory=_session_created)
    close_code: int | None = None  # instead of a first_event
    refused: tuple[str, ...] = ()  # fields of a session.update, as `audio.output.voice`
    confirms: bool = True  # each session.update that it does not refuse
    sessions: list[ProviderSession] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    ids: Callable[[], int] = field(default_factory=lambda: count(1).__next__)

    async def session(self, number: int = 1) -> ProviderSession:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.sessions) >= number)
        return self.sessions[number - 1]

    def process_request(self, socket: ServerConnection, _: Request) -> Response | None:
        if self.status is None:
            return None
        body = json.dumps({"error": {"message": "no, says sk-abcdefghijklmnopqrst", "code": "x"}}).encode()
        response = socket.respond(self.status, "")
        response.body = body
        del response.headers["Content-Length"]
        response.headers["Content-Length"] = str(len(body))
        return response

    async def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        session = ProviderSession(socket, socket.request.path, socket.request.headers.get("Authorization"))
        async with self.changed:
            self.sessions.append(session)
            self.changed.notify_all()
        if self.close_code is not None:
            await socket.close(self.close_code, "go away")
            return
        if self.first_event is not None:
            await socket.send(json.dumps(self.first_event))
        async for message in socket:
            event: Json = json.loads(message)
            async with session.changed:
                session.events.append(event)
                session.changed.notify_all()
            await self.answer(session, event)
        session.closed.set()

    async def answer(self, session: ProviderSession, event: Json) -> None:
        match event["type"]:
            case "session.update":
                await self.answer_update(session, event)
            case "input_audio_buffer.append":
                session.pcm += base64.b64decode(str(event["audio"]))
            case "input_audio_buffer.commit":
                session.committed_ms.append(len(session.pcm) / 48)
                session.pcm.clear()
                await self.user_item(session)
            case "input_audio_buffer.clear":
                session.pcm.clear()
                await session.send_event("input_audio_buffer.cleared")
            case "response.create" if self.answer_ms:
                await self.respond(session)

    async def answer_update(self, session: ProviderSession, event: Json) -> None:
        for path in self.refused:
            value: JsonValue = event["session"]
            for name in path.split("."):
                value = value.get(name) if isinstance(value, dict) else None
            if value is not None:
                error: Json = {"type": "invalid_request_error", "code": "invalid_value", "message": f"No {path} here."}
                await session.send_event(
                    "error", error={**error, "param": f"session.{path}", "event_id": event["event_id"]}
                )
                return
        if self.confirms:
            await session.send_event("session.updated", session=event["session"])

    async def user_item(self, session: ProviderSession) -> None:
        item_id = f"item_PU{self.ids()}"
        content: JsonValue = [{"type": "input_audio", "transcript": None}]
        item: Json = {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}
        await session.send_event("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)
        await session.send_event("conversation.item.added", item=item, previous_item_id=None)
        await session.send_event("conversation.item.done", item=item, previous_item_id=None)
        usage: JsonValue = {"type": "duration", "seconds": 0.4}
        kind = "conversation.item.input_audio_transcription.completed"
        await session.send_event(kind, item_id=item_id, content_index=0, transcript="hello", usage=usage)

    async def respond(self, session: ProviderSession) -> None:
        number = self.ids()
        rid, iid, text = f"resp_P{number}", f"item_P{number}", "Hello from here"
        part: Json = {"response_id": rid, "item_id": iid, "output_index": 0, "content_index": 0}
        item: Json = {"id": iid, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        await session.send_event("response.created", response={"id": rid, "status": "in_progress", "output": []})
        await session.send_event("response.output_item.added", response_id=rid, output_index=0, item=item)
        await session.send_event("response.content_part.added", **part, part={"type": "audio", "transcript": ""})
        await session.send_event("response.output_audio_transcript.delta", **part, delta=text)
        for _ in range(self.answer_ms // 100):
            await session.send_event(
                "response.output_audio.delta", **part, delta=base64.b64encode(b"\1\0" * 2400).decode()
            )
        await session.send_event("response.output_audio.done", **part)
        await session.send_event("response.output_audio_transcript.done", **part, transcript=text)
        await session.send_event("response.content_part.done", **part, part={"type": "audio", "transcript": text})
        await session.send_event("response.output_item.done", response_id=rid, output_index=0, item=item)
        usage: Json = {
            "total_tokens": 60,
            "input_tokens": 40,
            "output_tokens": 20,
            "input_token_details": {
                "text_tokens": 10,
                "audio_tokens": 30,
                "cached_tokens": 5,
                "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 0},
            },
            "output_token_details": {"text_tokens": 8, "audio_tokens": 12},
        }
        await session.send_event("response.done", response={"id": rid, "status": "completed", "usage": usage})


@asynccontextmanager
async def running(provider: ScriptedProvider, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedProvider]:
    """Serve ``provider`` on a free port while the block runs."""
    server: Server = await serve(provider.serve, "127.0.0.1", 0, process_request=provider.process_request, ssl=tls)
    async with server:
        port = next(iter(server.sockets)).getsockname()[1]
        provider.url = f"ws://127.0.0.1:{port}/v1/realtime"
        yield provider
        server.close(close_connections=True)
