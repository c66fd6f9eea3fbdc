"""Collects the commands of a step: events for the client, numbered in one sequence, and events for the provider.

While no session with the provider is in force, those for the provider are held here, in order and bounded.
"""

from collections import OrderedDict
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.audio import FRAME_MS, UP_FRAME_BYTES
from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId, new_event_id
from services.contracts.json_bytes import json_bytes
from services.upstream.core.capabilities import Capability
from services.upstream.core.commands import (
    AppendAudio,
    CountError,
    CountMissing,
    PublishEvent,
    SendToProvider,
    SessionCommand,
)
from services.upstream.core.json_shape import Json, text, text_chars, without_pictures
from services.upstream.core.json_shape import fields as json_fields

MAX_EVENT_BYTES = 200 * 1024
"""A browser's data channel takes 256 KiB, and so does a frame of the bus."""
MAX_HELD_AUDIO_BYTES = 2_000 // FRAME_MS * UP_FRAME_BYTES
"""2 s; older speech is dropped."""
MAX_HELD_EVENTS = 256
MAX_HELD_EVENT_BYTES = 2 * 1024 * 1024
_MAX_ORIGINS = 4096
"""A history of thousands of items may be on its way when the provider refuses one of them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Why an event was sent to the provider, so that an error about it can be attributed."""

    kind: str
    by_client: bool = False
    client_event_id: str | None = None
    item_id: str | None = None  # ours, of the item that it is about


@dataclass(frozen=True, slots=True)
class AudioPosition:
    """Where in the audio an event belongs: media releases it when ``position`` samples of the item were played.

    Without an item it is released when it comes.
    """

    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


AT_ONCE = AudioPosition()


class CommandBuffer:
    """The commands of the step in progress. Return `pop_commands` at the end of each step."""

    def __init__(self) -> None:
        self._commands: list[SessionCommand] = []
        self._sequence = 0
        self._origins: OrderedDict[str, Origin] = OrderedDict()
        self._held: list[SendToProvider | AppendAudio] = []
        self._held_audio_bytes = 0
        self._held_event_bytes = 0
        self._held_events = 0
        self._open = False
        self._missing: set[Capability] = set()

    def pop_commands(self) -> list[SessionCommand]:
        """Return and remove the commands of this step, in order."""
        commands, self._commands = self._commands, []
        return commands

    @property
    def published(self) -> int:
        """The number of the newest event for the client; 0 before the first."""
        return self._sequence

    def add(self, command: SessionCommand) -> None:
        """Add any command."""
        self._commands.append(command)

    def count_error(self, command: CountError) -> None:
        """Add the count of an error."""
        self._commands.append(command)

    def count_missing(self, capability: Capability) -> None:
        """Add the count of a missing capability, once for each in a session."""
        if capability not in self._missing:
            self._missing.add(capability)
            self.add(CountMissing(capability))

    def publish_event(self, kind: str, fields: Json, place: AudioPosition = AT_ONCE) -> None:
        """Publish a server event for the client; ids in ``fields`` must be ours.

        One that is too large is published without the pictures of its item, or else becomes an error.
        """
        event: Json = {"type": kind, "event_id": new_event_id(), **fields}
        if text_chars(event) > MAX_EVENT_BYTES:  # much cheaper than encoding megabytes
            event = without_pictures(event)
        if text_chars(event) > MAX_EVENT_BYTES or len(json_bytes(event)) > MAX_EVENT_BYTES:
            self.count_error(CountError("too_large"))
            if kind != "error":
                about = text(json_fields(event, "item"), "id")
                subject = f" about '{about}', which is unchanged," if about else ""
                self.publish_error(
                    code="event_too_large", message=f"A {kind} event{subject} does not fit the data channel."
                )
            return
        self._sequence += 1
        self.add(PublishEvent(self._sequence, event, place.item_id, place.position, place.flags))

    def publish_error(
        self,
        *,
        message: str,
        code: str | None = None,
        kind: str = "invalid_request_error",
        param: str | None = None,
        client_event_id: str | None = None,
    ) -> None:
        """Publish an `error` event for the client in the provider's shape."""
        error: Json = {
            "type": kind,
            "code": code,
            "message": message,
            "param": param,
            "event_id": client_event_id,
        }
        self.publish_event("error", {"error": error})

    def send_to_provider(self, kind: str, fields: Json | None = None, *, origin: Origin | None = None) -> bool:
        """Send the provider an event, or hold it while none is connected; False if too many are held already."""
        event_id = new_event_id()
        command = SendToProvider({"type": kind, "event_id": event_id, **(fields or {})})
        if not self._open and not self._hold_event(command):
            return False
        self._origins[event_id] = origin or Origin(kind)
        if len(self._origins) > _MAX_ORIGINS:
            self._origins.popitem(last=False)
        if self._open:
            self.add(command)
        return True

    def send_ahead(self, kind: str, fields: Json, *, origin: Origin) -> None:
        """Send the provider an event on its new connection, ahead of all that is held until `open`."""
        event_id = new_event_id()
        self._origins[event_id] = origin
        self.add(SendToProvider({"type": kind, "event_id": event_id, **fields}))

    def append_audio(self, pcm: bytes) -> int:
        """Send or hold caller audio (s16le mono 16 kHz); return how many bytes of older held audio were dropped."""
        command = AppendAudio(pcm)
        if self._open:
            self.add(command)
            return 0
        self._held.append(command)
        self._held_audio_bytes += len(pcm)
        dropped = 0
        while self._held_audio_bytes - dropped > MAX_HELD_AUDIO_BYTES:
            dropped += self._drop_oldest_audio()
        self._held_audio_bytes -= dropped
        return dropped

    @property
    def is_open(self) -> bool:
        """Whether the provider has confirmed the session of its connection."""
        return self._open

    def open(self) -> None:
        """Send what was held, in order, and events and audio for the provider directly from now on."""
        self._open = True
        self._commands += self._held
        self._held = []
        self._held_audio_bytes = self._held_event_bytes = self._held_events = 0

    def close(self) -> None:
        """Hold events and audio for the provider until the session of the next connection is in force."""
        self._open = False

    def origin_of(self, event_id: JsonValue) -> Origin | None:
        """Return why the event with this id was sent, and remove the entry; None if unknown."""
        return self._origins.pop(event_id, None) if isinstance(event_id, str) else None

    def _drop_oldest_audio(self) -> int:
        self.count_error(CountError("backlog", "audio"))
        oldest = next(command for command in self._held if isinstance(command, AppendAudio))
        self._held.remove(oldest)
        return len(oldest.pcm)

    def _hold_event(self, command: SendToProvider) -> bool:
        size = len(json_bytes(command.event))
        if self._held_events >= MAX_HELD_EVENTS or self._held_event_bytes + size > MAX_HELD_EVENT_BYTES:
            self.count_error(CountError("backlog", "event"))
            return False
        self._held_events += 1
        self._held_event_bytes += size
        self._held.append(command)
        return True
