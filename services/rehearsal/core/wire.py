"""The client events of the Realtime protocol (GA), checked."""

import json
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from services.rehearsal.core.commands import Json
from services.rehearsal.core.config import (
    MaxTokens,
    Modalities,
    SessionConfig,
    Strict,
    Tool,
    ToolChoice,
    checked,
    one_modality,
)
from services.rehearsal.core.refusal import RefusedError

MAX_AUDIO_CHARS = 20 * 1024 * 1024
"""15 MiB of audio in base64."""


class Event(Strict):
    """Base of the client events."""

    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(Event):
    """Change the session."""

    type: Literal["session.update"]
    session: SessionConfig


class Append(Event):
    """Audio of the caller."""

    type: Literal["input_audio_buffer.append"]
    audio: str = Field(max_length=MAX_AUDIO_CHARS)


class Commit(Event):
    """Make an item of the buffer."""

    type: Literal["input_audio_buffer.commit"]


class ClearInput(Event):
    """Throw the buffer away."""

    type: Literal["input_audio_buffer.clear"]


class ClearOutput(Event):
    """Exists over WebRTC only; refused here."""

    type: Literal["output_audio_buffer.clear"]


class PartIn(Strict):
    """A content part; which fields it needs depends on its type and is checked where it becomes a part."""

    type: Literal["input_text", "input_audio", "output_text", "output_audio", "text"]
    text: str | None = None
    audio: str | None = Field(default=None, max_length=MAX_AUDIO_CHARS)
    transcript: str | None = None


class _ItemIn(Strict):
    id: str | None = Field(default=None, min_length=1, max_length=64)
    object: Literal["realtime.item"] = "realtime.item"
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class MessageIn(_ItemIn):
    """A message of any role."""

    type: Literal["message"]
    role: Literal["user", "system", "assistant"]
    content: list[PartIn]


class CallIn(_ItemIn):
    """A function call of an earlier conversation."""

    type: Literal["function_call"]
    name: str
    arguments: str
    call_id: str | None = None


class OutputIn(_ItemIn):
    """What a function returned."""

    type: Literal["function_call_output"]
    call_id: str
    output: str


class ReferenceIn(Strict):
    """An item of the conversation as input of one response."""

    type: Literal["item_reference"]
    id: str


ItemIn = Annotated[MessageIn | CallIn | OutputIn, Field(discriminator="type")]
InputItem = Annotated[MessageIn | CallIn | OutputIn | ReferenceIn, Field(discriminator="type")]


class ItemCreate(Event):
    """Put an item into the conversation."""

    type: Literal["conversation.item.create"]
    item: ItemIn
    previous_item_id: str | None = None


class ItemRetrieve(Event):
    """Ask for an item as the server knows it."""

    type: Literal["conversation.item.retrieve"]
    item_id: str


class ItemTruncate(Event):
    """Cut an item of the model to what was heard."""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int
    audio_end_ms: int


class ItemDelete(Event):
    """Take an item out of the conversation."""

    type: Literal["conversation.item.delete"]
    item_id: str


class ResponseAudioOutput(Strict):
    """The voice of one response."""

    format: dict[str, JsonValue] | None = None
    voice: str | dict[str, str] | None = None


class ResponseAudio(Strict):
    """The audio of one response."""

    output: ResponseAudioOutput | None = None


class ResponseParams(Strict):
    """What one response does differently from the session."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] = "auto"
    input: list[InputItem] | None = None
    instructions: str | None = None
    max_output_tokens: MaxTokens | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    output_modalities: Modalities | None = None
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = None
    prompt: dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: dict[str, JsonValue] | None = None

    @field_validator("output_modalities")
    @classmethod
    def _one_modality(cls, value: Modalities | None) -> Modalities | None:
        return None if value is None else one_modality(value)


class ResponseCreate(Event):
    """Ask for a response."""

    type: Literal["response.create"]
    response: ResponseParams = ResponseParams()


class ResponseCancel(Event):
    """Stop the response that is being generated."""

    type: Literal["response.cancel"]
    response_id: str | None = None


ClientEvent = (
    SessionUpdate
    | Append
    | Commit
    | ClearInput
    | ClearOutput
    | ItemCreate
    | ItemRetrieve
    | ItemTruncate
    | ItemDelete
    | ResponseCreate
    | ResponseCancel
)
_KINDS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Commit,
    "input_audio_buffer.clear": ClearInput,
    "output_audio_buffer.clear": ClearOutput,
    "conversation.item.create": ItemCreate,
    "conversation.item.retrieve": ItemRetrieve,
    "conversation.item.truncate": ItemTruncate,
    "conversation.item.delete": ItemDelete,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}


def parse(text: str) -> Json:
    """The JSON object of one message.

    Raises:
        RefusedError: not JSON, or no object.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        raise RefusedError("invalid_json", "We could not parse the JSON body of your event: it must be one object.")
    return raw


def event_id_of(raw: Json) -> str | None:
    """The client's id of an event, even of one that is refused."""
    found = raw.get("event_id")
    return found if isinstance(found, str) else None


def client_event(raw: Json) -> ClientEvent:
    """Read a client event.

    Raises:
        RefusedError: an unknown type, or a field that is missing, unknown or wrong.
    """
    name = raw.get("type")
    if name is None:
        raise RefusedError("missing_required_parameter", "Missing required parameter: 'type'.", "type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        supported = ", ".join(f"'{known}'" for known in _KINDS)
        raise RefusedError("invalid_value", f"Invalid value for 'type'. Supported values are: {supported}.", "type")
    return checked(kind, raw)
