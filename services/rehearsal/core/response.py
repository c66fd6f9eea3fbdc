"""One response: its object, its item and its events, in the provider's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from services.rehearsal.core.command_list import CommandList
from services.rehearsal.core.commands import ArchiveAudio, Json
from services.rehearsal.core.config import Truncation
from services.rehearsal.core.conversation_items import ConversationItems
from services.rehearsal.core.faults import Faults
from services.rehearsal.core.functions import FunctionCall
from services.rehearsal.core.items import (
    ASSISTANT_MS_PER_TOKEN,
    ConversationItem,
    FunctionCallItem,
    ItemPart,
    MessageItem,
    TokenCount,
    audio_tokens,
    text_tokens,
)
from services.rehearsal.core.pieces import Piece
from services.rehearsal.core.sound import encode
from services.rehearsal.core.tool_fields import Tool, ToolChoice
from services.rehearsal.core.usage import TokenUsage
from services.rehearsal.core.voices import VoiceName

ResponseStatus = Literal["completed", "cancelled", "failed", "incomplete"]


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """The settings of a response: the session's, overridden by those of its `response.create`.

    ``given``: its input where that is not the conversation. ``conversation``: None out of band.
    """

    id: str
    modality: Literal["audio", "text"]
    instructions: str
    tools: Sequence[Tool]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    truncation: Truncation
    thinking_tokens: int
    max_tokens: int | Literal["inf"]
    metadata: dict[str, str] | None
    voice: VoiceName
    speed: float
    given: tuple[ConversationItem, ...] | None
    conversation: ConversationItems | None
    faults: Faults


class ResponseBuilder:
    """Generates one response. Call `created`, then `begin_…` and `emit` per piece for each item, then `finish`."""

    def __init__(self, spec: ResponseSpec, out: CommandList) -> None:
        self.spec = spec
        self.given = TokenCount()
        self.cached = TokenCount()
        self.thought = 0
        """Tokens spent before the answer."""
        self._out = out
        self._finished: list[MessageItem | FunctionCallItem] = []
        self._item: MessageItem | FunctionCallItem | None = None
        self._part = ItemPart("output_text", "")

    @property
    def item_ids(self) -> list[str]:
        """Ids of the items that it created."""
        return [item.id for item in self._items]

    @property
    def _items(self) -> list[MessageItem | FunctionCallItem]:
        return [*self._finished, self._item] if self._item else self._finished

    def as_json(self, status: str, *, details: Json | None = None, usage: TokenUsage | None = None) -> Json:
        """The `response` object."""
        spec = self.spec
        metadata: JsonValue = {**spec.metadata} if spec.metadata is not None else None
        return {
            "object": "realtime.response",
            "id": spec.id,
            "status": status,
            "status_details": details,
            "output": [item.as_json() for item in self._items] if usage else [],
            "conversation_id": spec.conversation.id if spec.conversation else None,
            "output_modalities": [spec.modality],
            "max_output_tokens": spec.max_tokens,
            "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": spec.voice}},
            "usage": usage.as_json() if usage else None,
            "metadata": metadata,
        }

    def created(self) -> None:
        """Send `response.created`."""
        self._out.append_event("response.created", response=self.as_json("in_progress"))

    def begin_message(self) -> None:
        """Start a message item, spoken or written."""
        self._part = ItemPart("output_audio" if self.spec.modality == "audio" else "output_text", "")
        self._begin(MessageItem(self._out.new_id("item"), "assistant", [], status="in_progress"))
        self._append_event("response.content_part.added", content_index=0, part=self._part_wire())

    def begin_call(self, called: FunctionCall) -> None:
        """Start a function call item."""
        call_id = self._out.new_id("call")
        self._begin(FunctionCallItem(self._out.new_id("item"), call_id, called.name, "", status="in_progress"))

    def _begin(self, item: MessageItem | FunctionCallItem) -> None:
        self._item = item
        index = len(self._finished)
        self._out.append_event(
            "response.output_item.added", response_id=self.spec.id, output_index=index, item=item.as_json()
        )
        if self.spec.conversation:
            self.spec.conversation.insert(item)
        if isinstance(item, MessageItem):
            item.content.append(self._part)

    def _part_wire(self) -> Json:
        if self._part.type == "output_audio":
            return {"type": "audio", "transcript": self._part.text}
        return {"type": "text", "text": self._part.text}

    def _append_event(self, kind: str, **fields: JsonValue) -> None:
        assert self._item is not None, "an item was begun"  # noqa: S101 - for the type checker
        where: Json = {"response_id": self.spec.id, "item_id": self._item.id, "output_index": len(self._finished)}
        self._out.append_event(kind, **where, **fields)

    def tokens_so_far(self, piece: Piece | None = None) -> TokenCount:
        """Tokens generated so far, including ``piece``."""
        text, sound = self._part.text or "", self._part.audio_bytes
        if isinstance(self._item, FunctionCallItem):
            text = self._item.name + self._item.arguments
        if piece:
            text += "".join(word.text for word in piece.words)
            sound += len(piece.pcm)
        made = TokenCount(text_tokens(text), audio_tokens(sound, ms_per_token=ASSISTANT_MS_PER_TOKEN))
        return sum((item.tokens() for item in self._finished), made + TokenCount(text=self.thought))

    def has_room_for(self, piece: Piece) -> bool:
        """Whether ``piece`` stays within `max_output_tokens`."""
        return self.spec.max_tokens == "inf" or self.tokens_so_far(piece).total <= self.spec.max_tokens

    def emit(self, piece: Piece) -> None:
        """Send the deltas of ``piece``."""
        for word in piece.words:
            if isinstance(self._item, FunctionCallItem):
                self._item.arguments += word.text
                self._append_event(
                    "response.function_call_arguments.delta", call_id=self._item.call_id, delta=word.text
                )
            else:
                self._part.text = (self._part.text or "") + word.text
                self._part.words.append(word)
                spoken = self._part.type == "output_audio"
                kind = "response.output_audio_transcript.delta" if spoken else "response.output_text.delta"
                self._append_event(kind, content_index=0, delta=word.text)
        if piece.pcm and self._item:
            self._part.audio_bytes += len(piece.pcm)
            self._append_event("response.output_audio.delta", content_index=0, delta=encode(piece.pcm))
            self._out.append(ArchiveAudio(self._item.id, piece.pcm))

    def finish(self, status: ResponseStatus, details: Json | None) -> TokenUsage:
        """Send the final events, from the last delta to `response.done`; returns the usage."""
        self.finish_item("completed" if status == "completed" else "incomplete")
        usage = TokenUsage(self.given, self.cached, self.tokens_so_far())
        self._out.append_event("response.done", response=self.as_json(status, details=details, usage=usage))
        return usage

    def finish_item(self, status: Literal["completed", "incomplete"] = "completed") -> None:
        """Send the final events of the current item, if there is one."""
        item = self._item
        if item is None:
            return
        if isinstance(item, FunctionCallItem):
            self._append_event(
                "response.function_call_arguments.done",
                call_id=item.call_id,
                name=item.name,
                arguments=item.arguments,
            )
        else:
            self._finish_part()
        item.status = status
        if self.spec.conversation:
            self.spec.conversation.finish(item)
        self._out.append_event(
            "response.output_item.done", response_id=self.spec.id, output_index=len(self._finished), item=item.as_json()
        )
        self._finished.append(item)
        self._item = None
        self._part = ItemPart("output_text", "")

    def _finish_part(self) -> None:
        if self._part.type == "output_audio":
            self._append_event("response.output_audio.done", content_index=0)
            self._append_event("response.output_audio_transcript.done", content_index=0, transcript=self._part.text)
        else:
            self._append_event("response.output_text.done", content_index=0, text=self._part.text)
        self._append_event("response.content_part.done", content_index=0, part=self._part_wire())
