"""The client events of the Realtime protocol (GA), validated."""

import json
import re
from typing import Literal

from pydantic import Field

from services.rehearsal.core.commands import Json
from services.rehearsal.core.config import CompleteSession
from services.rehearsal.core.item_wire import MAX_AUDIO_CHARS, ItemIn
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.response_wire import ResponseParams
from services.rehearsal.core.strict import Strict, checked


class ClientRequest(Strict):
    """Base of the client events."""

    event_id: str | None = Field(default=None, max_length=512)


class SessionUpdate(ClientRequest):
    """Change the session."""

    type: Literal["session.update"]
    session: CompleteSession


class Append(ClientRequest):
    """Caller audio."""

    type: Literal["input_audio_buffer.append"]
    audio: str = Field(max_length=MAX_AUDIO_CHARS)


class Commit(ClientRequest):
    """Create an item from the buffer."""

    type: Literal["input_audio_buffer.commit"]


class ClearInput(ClientRequest):
    """Discard the buffer."""

    type: Literal["input_audio_buffer.clear"]


class ClearOutput(ClientRequest):
    """Exists over WebRTC only; refused here."""

    type: Literal["output_audio_buffer.clear"]


class ItemCreate(ClientRequest):
    """Insert an item into the conversation."""

    type: Literal["conversation.item.create"]
    item: ItemIn
    previous_item_id: str | None = None


class ItemRetrieve(ClientRequest):
    """Request an item as the server stores it."""

    type: Literal["conversation.item.retrieve"]
    item_id: str


class ItemTruncate(ClientRequest):
    """Truncate an item of the model at what was played."""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int
    audio_end_ms: int


class ItemDelete(ClientRequest):
    """Delete an item from the conversation."""

    type: Literal["conversation.item.delete"]
    item_id: str


class ResponseCreate(ClientRequest):
    """Request a response."""

    type: Literal["response.create"]
    response: ResponseParams = ResponseParams()


class ResponseCancel(ClientRequest):
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


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape for half of a pair; a half alone is no Unicode."""


def parse(text: str) -> Json:
    """Parse a message to its JSON object.

    Raises:
        EventRefusedError: not JSON of Unicode text, or no object.
    """
    try:
        raw = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        raise EventRefusedError(
            "invalid_json", "We could not parse the JSON body of your event: it must be one object."
        )
    return raw


def event_id_of(raw: Json) -> str | None:
    """The client's id of an event, also of one that is refused."""
    found = raw.get("event_id")
    return found if isinstance(found, str) else None


def client_event(raw: Json) -> ClientEvent:
    """Parse a client event.

    Raises:
        EventRefusedError: an unknown type, or a field that is missing, unknown or invalid.
    """
    name = raw.get("type")
    if name is None:
        raise EventRefusedError("missing_required_parameter", "Missing required parameter: 'type'.", "type")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        supported = ", ".join(f"'{known}'" for known in _KINDS)
        raise EventRefusedError(
            "invalid_value", f"Invalid value for 'type'. Supported values are: {supported}.", "type"
        )
    return checked(kind, raw)
