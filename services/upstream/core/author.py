"""Writes the commands: what the client is shown, in one rising sequence, and what the provider is told.

Until the provider is there, what is meant for it is kept here, in order and bounded.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.audio import FRAME_MS, UP_FRAME_BYTES
from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId, new_event_id
from services.upstream.core.commands import AppendAudio, Command, CountError, PublishEvent, SendToProvider
from services.upstream.core.shape import Json

MAX_EVENT_BYTES = 200 * 1024
"""A browser's data channel takes 256 KiB, and so does a frame of the bus."""
MAX_HELD_AUDIO_BYTES = 2_000 // FRAME_MS * UP_FRAME_BYTES
"""Speech of longer ago is worthless."""
MAX_HELD_EVENTS = 256
MAX_HELD_EVENT_BYTES = 2 * 1024 * 1024
_MAX_ORIGINS = 512


@dataclass(frozen=True, slots=True)
class Origin:
    """Why an event was sent to the provider, so that its error finds the one who asked."""

    kind: str
    by_client: bool = False
    client_event_id: str | None = None
    item_id: str | None = None  # ours, of the item that it is about


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the sound an event belongs."""

    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


NOWHERE = Place()
AT_ONCE = Place(flags=Flag.AT_ONCE)


class Author:
    """Collects the commands of one step; `take` hands them over."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._sequence = 0
        self._origins: OrderedDict[str, Origin] = OrderedDict()
        self._held: list[SendToProvider | AppendAudio] = []
        self._held_audio_bytes = 0
        self._held_event_bytes = 0
        self._held_events = 0
        self._open = False
        self._released_all = False

    def take(self) -> list[Command]:
        """What this step has written."""
        commands, self._commands = self._commands, []
        return commands

    def pop_released_all(self) -> bool:
        """Whether an event since the last call releases everything that media holds."""
        released, self._released_all = self._released_all, False
        return released

    def do(self, command: Command) -> None:
        """Write any command."""
        self._commands.append(command)

    def count(self, command: CountError) -> None:
        """Write that something went wrong."""
        self._commands.append(command)

    def publish(self, kind: str, fields: Json, place: Place = NOWHERE) -> None:
        """Show the client an event; ids in ``fields`` are ours already."""
        event: Json = {"type": kind, "event_id": new_event_id(), **fields}
        if len(json.dumps(event)) > MAX_EVENT_BYTES:
            self.count(CountError("too_large"))
            if kind != "error":
                self.error(code="event_too_large", message=f"A {kind} event does not fit the data channel.")
            return
        self._sequence += 1
        self._released_all = self._released_all or Flag.RELEASE_ALL in place.flags
        self.do(PublishEvent(self._sequence, event, place.item_id, place.position, place.flags))

    def error(
        self,
        *,
        message: str,
        code: str | None = None,
        kind: str = "invalid_request_error",
        param: str | None = None,
        client_event_id: str | None = None,
    ) -> None:
        """Show the client an error in the provider's shape."""
        error: Json = {
            "type": kind,
            "code": code,
            "message": message,
            "param": param,
            "event_id": client_event_id,
        }
        self.publish("error", {"error": error}, AT_ONCE)

    def send(self, kind: str, fields: Json | None = None, *, origin: Origin | None = None) -> bool:
        """Tell the provider something, or keep it until there is one; False if too much is kept already."""
        event_id = new_event_id()
        command = SendToProvider({"type": kind, "event_id": event_id, **(fields or {})})
        if not self._open and not self._hold_event(command):
            return False
        self._origins[event_id] = origin or Origin(kind)
        if len(self._origins) > _MAX_ORIGINS:
            self._origins.popitem(last=False)
        if self._open:
            self.do(command)
        return True

    def append(self, pcm: bytes) -> int:
        """Give the provider caller audio, or keep it; returns how many bytes of older audio had to go for it."""
        command = AppendAudio(pcm)
        if self._open:
            self.do(command)
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
        """The provider is there."""
        return self._open

    def open(self) -> None:
        """The provider is there: what follows goes to it directly."""
        self._open = True

    def release_held(self) -> None:
        """Send what was kept, in its order."""
        self._commands += self._held
        self._held = []

    def origin_of(self, event_id: JsonValue) -> Origin | None:
        """Why the event that the provider names was sent; known once."""
        return self._origins.pop(event_id, None) if isinstance(event_id, str) else None

    def _drop_oldest_audio(self) -> int:
        self.count(CountError("backlog", "audio"))
        oldest = next(command for command in self._held if isinstance(command, AppendAudio))
        self._held.remove(oldest)
        return len(oldest.pcm)

    def _hold_event(self, command: SendToProvider) -> bool:
        size = len(json.dumps(command.event))
        if self._held_events >= MAX_HELD_EVENTS or self._held_event_bytes + size > MAX_HELD_EVENT_BYTES:
            self.count(CountError("backlog", "event"))
            return False
        self._held_events += 1
        self._held_event_bytes += size
        self._held.append(command)
        return True
