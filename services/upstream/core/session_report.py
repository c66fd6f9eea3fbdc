"""Compares what the provider was sent in a `session.update` with what its `session.updated` reports."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from services.contracts.session.fields import NULLABLE
from services.contracts.session.parse import InvalidSessionError, parse_session
from services.upstream.core.json_paths import at_path, has_value, value_at
from services.upstream.core.json_shape import Json, objects, text

OPTIONAL_FIELDS = (
    "audio.input.noise_reduction",
    "audio.input.transcription",
    "audio.output.speed",
    "audio.output.voice",
    "include",
    "reasoning",
    "tracing",
    "truncation",
)
"""Fields without which a session may run, if its token does not lock them: they change how it sounds, what is written
down and how it is kept, not what the model is told, may do or may cost."""
SHOWN_FIELDS = (*OPTIONAL_FIELDS, "max_output_tokens")
"""Fields of which the client is shown the provider's value, where that is another than the client's."""
_TRANSCRIPTION = "audio.input.transcription"
_OURS = frozenset({"type", "audio.input.format", "audio.output.format"})
_MAX_REPORTED_CHARS = 1024


def contradicted_field(sent: Json, report: Json, *, locked_paths: Sequence[str] = ()) -> str:
    """Return the path of a field that ``report`` has otherwise than ``sent``; empty if it may be what was sent.

    A field that the report leaves out is not contradicted. An optional field may differ, unless it is locked.
    """
    for path, value in _leaves(sent):
        if path in OPTIONAL_FIELDS and path not in locked_paths:
            continue
        if has_value(report, path) and _is_contradicted(path, value, value_at(report, path)):
            return path
    return ""


def reported_values(shown: Json, report: Json) -> Json:
    """Return the values that ``report`` has otherwise than ``shown``, by path: only of `SHOWN_FIELDS`, and valid.

    The model that transcribes is shown also if the client named none.
    """
    result: Json = {}
    for path in SHOWN_FIELDS:
        value = value_at(report, path)
        is_stated = has_value(report, path) and (value is not None or path in NULLABLE)
        if is_stated and not _agrees(value_at(shown, path), value) and _is_valid(path, value):
            result[path] = value
    ours, model = value_at(shown, _TRANSCRIPTION), value_at(report, f"{_TRANSCRIPTION}.model")
    if isinstance(ours, dict) and not ours.get("model") and model and _is_valid(_TRANSCRIPTION, {"model": model}):
        result.setdefault(_TRANSCRIPTION, {**ours, "model": model})
    return result


def _leaves(sent: Json) -> Iterator[tuple[str, JsonValue]]:
    for name, value in sent.items():
        if name != "audio" and name not in _OURS:
            yield name, value
    for way in ("input", "output"):
        inner = value_at(sent, f"audio.{way}")
        for name, value in inner.items() if isinstance(inner, dict) else ():
            if f"audio.{way}.{name}" not in _OURS:
                yield f"audio.{way}.{name}", value


def _is_contradicted(path: str, ours: JsonValue, theirs: JsonValue) -> bool:
    match path, ours, theirs:
        case _, _, None:
            return path in NULLABLE and ours is not None
        case "instructions", str(), str():  # a provider may add its own around them
            agrees = ours.strip() in theirs
        case "tools", list(), list():
            agrees = _tool_names(ours) == _tool_names(theirs)
        case "output_modalities", list(), list():
            agrees = all(modality in theirs for modality in ours)
        case "max_output_tokens", int(), _:  # fewer is a limit of the provider's own
            agrees = isinstance(theirs, int) and theirs <= ours
        case "max_output_tokens", _, _:
            agrees = True
        case _:
            agrees = _agrees(ours, theirs)
    return not agrees


def _tool_names(tools: list[JsonValue]) -> list[str]:
    named = objects({"tools": tools}, "tools")
    return sorted(text(tool, "name") or text(tool, "server_label") for tool in named)


def _agrees(ours: JsonValue, theirs: JsonValue) -> bool:
    """Return whether ``theirs`` says the same as ``ours``; in objects it may say more."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return all(name not in theirs or _agrees(value, theirs[name]) for name, value in ours.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_agrees, ours, theirs))
    if _is_number(ours) and _is_number(theirs):
        return math.isclose(float(str(ours)), float(str(theirs)), rel_tol=1e-6)
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_valid(path: str, value: JsonValue) -> bool:
    if path == "tracing" and value != "auto":
        return value is None  # an object may hold the provider's own ids
    try:
        parse_session(at_path(path, value))
    except InvalidSessionError:
        return False
    return len(json.dumps(value)) <= _MAX_REPORTED_CHARS
