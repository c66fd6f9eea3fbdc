"""A strict provider whose events are on their way for as long as the test says, for one conversation."""

import base64
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from services.upstream.core.commands import AppendAudio, SendToProvider, SessionCommand
from tests.upstream.drive import Drive, Json, object_of

SOUND = base64.b64encode(bytes(4800)).decode()


@dataclass
class ConversationProvider:
    """Pass it commands; `generate` makes events, and `deliver` brings them to the core."""

    drive: Drive
    prefix: str = "P"
    items: dict[str, Json] = field(default_factory=dict)  # in order
    buffer: bytearray = field(default_factory=bytearray)
    in_flight: deque[Json] = field(default_factory=deque)
    answer: Iterator[Json] | None = None
    active: str = ""
    item: str = ""  # that is being generated
    responses: list[str] = field(default_factory=list)  # statuses
    number: int = 0

    def on_commands(self, commands: Iterable[SessionCommand]) -> None:
        for command in commands:
            if isinstance(command, AppendAudio):
                self.buffer += command.pcm
            elif isinstance(command, SendToProvider):
                self.on_client_event(command.event)

    def on_client_event(self, event: Json) -> None:
        match event["type"]:
            case "input_audio_buffer.commit":
                self.commit()
            case "input_audio_buffer.clear":
                self.buffer.clear()
                self.send("input_audio_buffer.cleared")
            case "conversation.item.create":
                item = object_of(event, "item")
                self.add(str(item["id"]), {**item, "status": "completed"})
            case "conversation.item.delete":
                item_id = str(event["item_id"])
                assert item_id != self.item, "it is being generated"
                del self.items[item_id]
                self.send("conversation.item.deleted", item_id=item_id)
            case "response.create":
                assert not self.active
                self.active = self.new_id("resp")
                self.answer = self.events_of_answer()
                self.send("response.created", response={"id": self.active, "status": "in_progress", "output": []})
            case "response.cancel" if event["response_id"] == self.active:
                self.end("cancelled")
            case "response.cancel":
                error: Json = {"type": "invalid_request_error", "code": "response_cancel_not_active"}
                self.send("error", error={**error, "message": "No.", "event_id": event["event_id"]})

    def commit(self) -> None:
        assert len(self.buffer) >= 3200
        item_id = self.new_id("item")
        previous = next(reversed(self.items), None)
        self.send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        content: Json = {"type": "input_audio", "transcript": None}
        item: Json = {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": [content]}
        self.add(item_id, item)
        self.items[item_id]["heard"] = self.buffer.hex()
        self.buffer.clear()
        kind = "conversation.item.input_audio_transcription.completed"
        usage: Json = {"type": "duration", "seconds": 0.4}
        self.send(kind, item_id=item_id, content_index=0, transcript="hello", usage=usage)

    def add(self, item_id: str, item: Json) -> None:
        previous = next(reversed(self.items), None)
        self.items[item_id] = item
        for kind in ("conversation.item.added", "conversation.item.done"):
            self.send(kind, item=dict(item), previous_item_id=previous)

    def events_of_answer(self) -> Iterator[Json]:
        """Generate a function call or speech, by the length of what was said last."""
        response, item_id = self.active, self.new_id("item")
        self.item = item_id
        where: Json = {"response_id": response, "output_index": 0}
        heard = [len(str(item["heard"])) for item in self.items.values() if "heard" in item]
        if heard and heard[-1] // 1280 % 3 == 0:
            call: Json = {"id": item_id, "type": "function_call", "name": "f", "call_id": f"call_{item_id}"}
            self.items[item_id] = {"type": "function_call"}
            yield event_of("response.output_item.added", **where, item={**call, "status": "in_progress"})
            yield event_of("response.function_call_arguments.delta", **where, item_id=item_id, delta="{}")
            done: Json = {**call, "status": "completed", "arguments": "{}"}
            yield event_of("response.output_item.done", **where, item=done)
            return
        previous = next(reversed(self.items), None)
        item: Json = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.items[item_id] = {"type": "message", "role": "assistant"}
        part: Json = {**where, "item_id": item_id, "content_index": 0}
        yield event_of("response.output_item.added", **where, item=item)
        yield event_of("conversation.item.added", item=item, previous_item_id=previous)
        yield event_of("response.content_part.added", **part, part={"type": "audio", "transcript": ""})
        yield event_of("response.output_audio_transcript.delta", **part, delta="Hello you")
        for _ in range(3):
            yield event_of("response.output_audio.delta", **part, delta=SOUND)
        yield event_of("response.output_audio.done", **part)
        yield event_of("response.output_audio_transcript.done", **part, transcript="Hello you")
        yield event_of("response.output_item.done", **where, item={**item, "status": "completed"})

    def end(self, status: str) -> None:
        usage: Json = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}
        response: Json = {"id": self.active, "status": status, "output": [], "usage": usage}
        self.active, self.item, self.answer = "", "", None
        self.responses.append(status)
        self.send("response.done", response=response)
        limit: Json = {"name": "tokens", "limit": 100, "remaining": 70, "reset_seconds": 1.0}
        self.send("rate_limits.updated", rate_limits=[limit])

    def generate(self, events: int) -> None:
        """Generate up to so many events of the answer."""
        for _ in range(events):
            if self.answer is None:
                return
            event = next(self.answer, None)
            if event is None:
                self.end("completed")
            else:
                self.in_flight.append(event)

    def deliver(self, events: int = 1000) -> None:
        """Let up to so many events arrive, and what the core sends reach the provider."""
        for _ in range(events):
            if not self.in_flight:
                return
            self.on_commands(
                self.drive.record(self.drive.core.on_provider_event(self.in_flight.popleft(), now=self.drive.now))
            )

    def send(self, kind: str, **fields: object) -> None:
        self.in_flight.append(event_of(kind, **fields))

    def new_id(self, kind: str) -> str:
        self.number += 1
        return f"{kind}_{self.prefix}{self.number}"


def event_of(kind: str, **fields: object) -> Json:
    """Return an event of the provider."""
    return {"type": kind, "event_id": "event_theirs", **fields}  # type: ignore[dict-item]
