"""Collects the commands of one input, in order."""

import secrets
import string
from collections.abc import Callable

from pydantic import JsonValue

from services.rehearsal.core.commands import Json, RehearsalCommand, SendServerEvent

_ALPHABET = string.ascii_letters + string.digits
_LETTERS = bytes(ord(_ALPHABET[number % len(_ALPHABET)]) for number in range(256))

NewId = Callable[[str], str]


def provider_id(prefix: str) -> str:
    """An id in the provider's format: the prefix, such as `item_`, and 21 random characters of both cases."""
    return f"{prefix}_{secrets.token_bytes(21).translate(_LETTERS).decode('ascii')}"


class CommandList:
    """The commands of the current input. ``new_id`` creates an id with a prefix."""

    def __init__(self, new_id: NewId) -> None:
        self.new_id = new_id
        self._commands: list[RehearsalCommand] = []

    def append(self, command: RehearsalCommand) -> None:
        """Append a command."""
        self._commands.append(command)

    def append_event(self, kind: str, **fields: JsonValue) -> None:
        """Append a server event with an id of its own."""
        event: Json = {"type": kind, "event_id": self.new_id("event"), **fields}
        self._commands.append(SendServerEvent(event))

    def drain(self) -> list[RehearsalCommand]:
        """All commands since the last call."""
        taken, self._commands = self._commands, []
        return taken
