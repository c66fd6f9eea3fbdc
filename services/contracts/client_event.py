"""Reads a client event: the JSON text of an object that has a type. What is none is answered by an `error` event."""

import json
import math
import re
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

MAX_EVENT_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""The Realtime API takes 15 MiB in one `input_audio_buffer.append`. The provider gets a little more than the client
sent, as ids are ours; common WebSocket servers read 16 MiB."""
MAX_EVENT_ID = 512
_MAX_VALUES = 200_000
"""Members of arrays and objects, estimated: 16 MiB could hold millions, which would block a process for a second."""
_SHORT_BYTES = 64 * 1024
_EVERY_EVENT = frozenset({"type", "event_id"})
_MAX_NAME = 64
_EVENT_ID = re.compile(rb'"event_id"\s*:\s*"([^"\\\x00-\x1f]{1,512})"')
_SEARCHED_BYTES = 4096
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape for half of a pair; a half alone is no Unicode, and some providers end the session over it."""

BadEvent = Literal["malformed", "binary", "too_large"]
"""Why a message is no event: no JSON, not an object with a type, or invalid fields; not text; too many values."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The text of a long message, not decoded: each pass over megabytes delays other calls."""

    utf8: bytes


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A message that is answered by an `error` event. ``event_id``: the client's, None if it cannot be read."""

    reason: BadEvent
    code: str
    message: str
    event_id: str | None = None
    param: str | None = None


def read_event(raw: bytes) -> dict[str, JsonValue] | RefusedEvent:
    """Return the fields of a client event, of which `type` is a string, or why it is refused."""
    if len(raw) > _SHORT_BYTES and raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _MAX_VALUES:
        message = f"The event has too many values: up to {_MAX_VALUES} commas and brackets are read."
        return RefusedEvent("too_large", "event_too_complex", message, _found_id(raw))
    try:
        event = _decoder.decode(raw.decode())
        if _SURROGATE.search(raw):
            json.dumps(event, ensure_ascii=False).encode()
    except RecursionError:
        return RefusedEvent("malformed", "invalid_event", "The event is nested too deeply.", _found_id(raw))
    except ValueError as exc:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        where = f" (line {exc.lineno} column {exc.colno})" if isinstance(exc, json.JSONDecodeError) else ""
        message = f"The event is not valid JSON{where}: send one JSON object as text."
        return RefusedEvent("malformed", "invalid_json", message, _found_id(raw))
    if not isinstance(event, dict):
        return RefusedEvent("malformed", "invalid_event", "The event is not a JSON object.")
    kind = event.get("type")
    if isinstance(kind, str):
        return event
    if kind is None:
        code, message = "missing_required_parameter", "Missing required parameter: 'type'."
    else:
        code, message = "invalid_type", "Invalid type for 'type': expected a string."
    return RefusedEvent("malformed", code, message, event_id(event), "type")


def unknown_field(event: dict[str, JsonValue], known: frozenset[str]) -> RefusedEvent | None:
    """Return the refusal of an event with a field beside ``known``, `type` and `event_id`; None if it has none."""
    others = event.keys() - known - _EVERY_EVENT
    if not others:
        return None
    name = min(others)[:_MAX_NAME]
    message = f"Unknown parameter: '{name}'."
    return RefusedEvent("malformed", "unknown_parameter", message, event_id(event), name)


def not_text() -> RefusedEvent:
    """Return the refusal of a binary message."""
    return RefusedEvent("binary", "invalid_event", "Binary messages are not read: send events as text.")


def event_id(event: dict[str, JsonValue]) -> str | None:
    """Return the event's id, for errors about it; None if it has none. A longer one than `MAX_EVENT_ID` is cut."""
    value = event.get("event_id")
    return value[:MAX_EVENT_ID] or None if isinstance(value, str) else None


def _found_id(raw: bytes) -> str | None:
    """Return the first `event_id` in what is not valid JSON."""
    found = _EVENT_ID.search(raw, 0, _SEARCHED_BYTES)
    return found[1].decode(errors="replace") if found else None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")  # Python's parser accepts NaN and Infinity


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number} is too large")  # it would be sent on as Infinity
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
