"""What a client may say: JSON objects of bounded size and number."""

import json
from dataclasses import dataclass

from pydantic import JsonValue

from services.media.core.commands import DropReason

MAX_EVENT_BYTES = 128 * 1024
EVENTS_PER_S = 50.0
BURST_EVENTS = 200.0
"""Clients send a handful per turn; a flood would be relayed to the worker and to the provider."""


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """A checked event."""

    type: str
    fields: dict[str, JsonValue]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that is no event, or one too many."""

    reason: DropReason


class Inbox:
    """Checks one leg's messages."""

    def __init__(self) -> None:
        self._allowed = BURST_EVENTS
        self._last = 0.0

    def take(self, message: str | bytes, *, now: float) -> ClientEvent | Rejected:
        """Check ``message``."""
        self._allowed = min(BURST_EVENTS, self._allowed + (now - self._last) * EVENTS_PER_S)
        self._last = now
        if self._allowed < 1:
            return Rejected("client_event_too_many")
        self._allowed -= 1
        if isinstance(message, bytes):
            return Rejected("client_event_binary")
        return _parse(message)


def _parse(message: str) -> ClientEvent | Rejected:
    try:
        raw = message.encode()
        if len(raw) > MAX_EVENT_BYTES:
            return Rejected("client_event_too_long")
        fields = json.loads(raw)
    except (ValueError, RecursionError):  # UnicodeEncodeError and JSONDecodeError are ValueErrors
        return Rejected("client_event_malformed")
    if not isinstance(fields, dict) or not isinstance(kind := fields.get("type"), str):
        return Rejected("client_event_malformed")
    return ClientEvent(kind, fields, raw)
