"""Typed access to untrusted JSON: a value of another type counts as missing."""

from collections.abc import Mapping

from pydantic import JsonValue

from services.contracts.usage import MAX_QUANTITY

Json = dict[str, JsonValue]

MAX_DEPTH = 32
MAX_ID_CHARS = 128


def text(source: Mapping[str, JsonValue], name: str, default: str = "") -> str:
    """Return the string ``name``, else ``default``."""
    value = source.get(name)
    return value if isinstance(value, str) else default


def whole(source: Mapping[str, JsonValue], name: str, default: int = 0) -> int:
    """Return the integer ``name`` if it is from 0 to `MAX_QUANTITY`, else ``default``. 3.0 counts as 3."""
    value = source.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_QUANTITY:
        return default
    return value


def fields(source: Mapping[str, JsonValue], name: str) -> Json:
    """Return the object ``name``, else an empty one."""
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def objects(source: Mapping[str, JsonValue], name: str) -> list[Json]:
    """Return the objects in the array ``name``; other values in it are left out."""
    value = source.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def is_too_deep(value: JsonValue, limit: int = MAX_DEPTH) -> bool:
    """Return whether containers are nested more than ``limit`` deep."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def text_chars(value: JsonValue) -> int:
    """Return the characters of all strings in ``value``, keys included: less than its JSON has, without encoding it."""
    total, left = 0, [value]
    while left:
        inner = left.pop()
        if isinstance(inner, str):
            total += len(inner)
        elif isinstance(inner, dict):
            total += sum(map(len, inner))
            left += inner.values()
        elif isinstance(inner, list):
            left += inner
    return total


def without_pictures(event: Json) -> Json:
    """Return ``event`` without the `image_url` of its item's pictures that hold their data themselves."""
    item = fields(event, "item")
    if not isinstance(content := item.get("content"), list):
        return event
    shown: list[JsonValue] = [
        {name: value for name, value in part.items() if name != "image_url"}
        if isinstance(part, dict) and text(part, "image_url").startswith("data:")
        else part
        for part in content
    ]
    return {**event, "item": {**item, "content": shown}}


def is_id(value: JsonValue) -> bool:
    """Return whether ``value`` is a string of 1 to `MAX_ID_CHARS` characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS
