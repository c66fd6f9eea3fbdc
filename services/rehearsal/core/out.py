"""Collects what one input makes the session do, in order."""

import secrets
import string
from collections.abc import Callable

from pydantic import JsonValue

from services.rehearsal.core.commands import Command, Json, Send

_ALPHABET = string.ascii_letters + string.digits
_LETTERS = bytes(ord(_ALPHABET[number % len(_ALPHABET)]) for number in range(256))

NewId = Callable[[str], str]


def provider_id(prefix: str) -> str:
    """An id as the provider makes them: `item_` and 21 random characters of both cases."""
    return f"{prefix}_{secrets.token_bytes(21).translate(_LETTERS).decode('ascii')}"


class Out:
    """The commands of the current input. ``new_id`` makes an id of a prefix."""

    def __init__(self, new_id: NewId) -> None:
        self.new_id = new_id
        self._commands: list[Command] = []

    def do(self, command: Command) -> None:
        """Append a command."""
        self._commands.append(command)

    def event(self, kind: str, **fields: JsonValue) -> None:
        """Append a server event with an id of its own."""
        event: Json = {"type": kind, "event_id": self.new_id("event"), **fields}
        self._commands.append(Send(event))

    def take(self) -> list[Command]:
        """All commands since the last call."""
        taken, self._commands = self._commands, []
        return taken
