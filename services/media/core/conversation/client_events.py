"""Validates client events: JSON objects of bounded size and rate."""

import json
from dataclasses import dataclass

from pydantic import JsonValue

from services.media.core.commands import DropReason
from services.runtime.core.token_bucket import TokenBucket

MAX_EVENT_BYTES = 128 * 1024
EVENTS_PER_S = 50.0
BURST_EVENTS = 200.0
"""Clients send about five per turn; a flood would be relayed to the worker and to the provider."""


@dataclass(frozen=True, slots=True)
class ValidClientEvent:
    """A valid client event."""

    type: str
    fields: dict[str, JsonValue]
    raw: bytes


@dataclass(frozen=True, slots=True)
class EventRejected:
    """A message that is not a valid event, or above the rate limit."""

    reason: DropReason


class ClientEventReader:
    """Validates one leg's messages."""

    def __init__(self) -> None:
        self._bucket = TokenBucket(EVENTS_PER_S, BURST_EVENTS)

    def parse(self, message: str | bytes, *, now: float) -> ValidClientEvent | EventRejected:
        """Parse and validate ``message``, received at ``now``."""
        if self._bucket.take(now=now):
            return EventRejected("client_event_too_many")
        if isinstance(message, bytes):
            return EventRejected("client_event_binary")
        return _parse(message)


def _parse(message: str) -> ValidClientEvent | EventRejected:
    try:
        raw = message.encode()
        if len(raw) > MAX_EVENT_BYTES:
            return EventRejected("client_event_too_long")
        fields = json.loads(raw)
    except (ValueError, RecursionError):  # UnicodeEncodeError and JSONDecodeError are ValueErrors
        return EventRejected("client_event_malformed")
    if not isinstance(fields, dict) or not isinstance(kind := fields.get("type"), str):
        return EventRejected("client_event_malformed")
    return ValidClientEvent(kind, fields, raw)
