"""Reads `hushgate.client_stats`, by which a client tells how late its loudspeaker is."""

from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.client_event import RefusedEvent, event_id, unknown_field

MAX_STATED_MS = 60_000
_FIELDS = frozenset({"jitter_buffer_ms", "playout_delay_ms", "round_trip_ms"})


@dataclass(frozen=True, slots=True)
class ClientStats:
    """What a client measured, in ms; None: it did not say."""

    buffer_ms: int
    playout_ms: int | None
    round_trip_ms: int | None


def read_stats(fields: dict[str, JsonValue]) -> ClientStats | RefusedEvent:
    """Return the figures of an event, or why it is refused."""
    if (refused := unknown_field(fields, _FIELDS)) is not None:
        return refused
    buffer_ms = _milliseconds(fields.get("jitter_buffer_ms"))
    if buffer_ms is None:
        return _refused(fields, "jitter_buffer_ms")
    for name in ("playout_delay_ms", "round_trip_ms"):
        if fields.get(name) is not None and _milliseconds(fields[name]) is None:
            return _refused(fields, name)
    playout_ms = _milliseconds(fields.get("playout_delay_ms"))
    return ClientStats(buffer_ms, playout_ms, _milliseconds(fields.get("round_trip_ms")))


def _refused(fields: dict[str, JsonValue], name: str) -> RefusedEvent:
    message = f"Expected milliseconds from 0 to {MAX_STATED_MS} in '{name}'."
    return RefusedEvent("malformed", "invalid_value", message, event_id(fields), name)


def _milliseconds(value: JsonValue) -> int | None:
    """Read a number of ms; None for anything else."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value < MAX_STATED_MS else None
