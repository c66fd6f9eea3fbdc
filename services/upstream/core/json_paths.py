"""Values within nested JSON objects, by paths such as `audio.output.voice`."""

from collections.abc import Mapping

from pydantic import JsonValue

from services.upstream.core.json_shape import Json, fields


def has_value(source: Mapping[str, JsonValue], path: str) -> bool:
    """Return whether ``source`` has something at ``path``, also null."""
    *outer, last = path.split(".")
    for name in outer:
        source = fields(source, name)
    return last in source


def value_at(source: Mapping[str, JsonValue], path: str) -> JsonValue:
    """Return what ``source`` has at ``path``; None if there is nothing."""
    *outer, last = path.split(".")
    for name in outer:
        source = fields(source, name)
    return source.get(last)


def at_path(path: str, value: JsonValue) -> Json:
    """Return an object that has ``value`` at ``path`` and nothing else."""
    first, _, rest = path.partition(".")
    return {first: at_path(rest, value) if rest else value}


def without_path(source: Mapping[str, JsonValue], path: str) -> Json:
    """Return a copy of ``source`` without the value at ``path`` and without objects that this leaves empty."""
    first, _, rest = path.partition(".")
    result = dict(source)
    inner = result.get(first)
    if not rest:
        result.pop(first, None)
    elif isinstance(inner, dict):
        result[first] = without_path(inner, rest)
        if not result[first]:
            del result[first]
    return result
