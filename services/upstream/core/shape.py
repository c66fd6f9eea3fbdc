"""Reading JSON that others wrote: every access says what it expects and survives what it finds."""

from collections.abc import Mapping

from pydantic import JsonValue

from services.contracts.usage import MAX_QUANTITY

Json = dict[str, JsonValue]

MAX_DEPTH = 32
MAX_ID_CHARS = 128


def text(source: Mapping[str, JsonValue], name: str, default: str = "") -> str:
    """The string ``name``, else ``default``."""
    value = source.get(name)
    return value if isinstance(value, str) else default


def whole(source: Mapping[str, JsonValue], name: str, default: int = 0) -> int:
    """The integer ``name`` if it is a sane quantity, else ``default``. JSON writers may put 3.0 for 3."""
    value = source.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_QUANTITY:
        return default
    return value


def fields(source: Mapping[str, JsonValue], name: str) -> Json:
    """The object ``name``, else an empty one."""
    value = source.get(name)
    return value if isinstance(value, dict) else {}


def objects(source: Mapping[str, JsonValue], name: str) -> list[Json]:
    """The objects in the array ``name``; whatever else is in it is left out."""
    value = source.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def is_too_deep(value: JsonValue, limit: int = MAX_DEPTH) -> bool:
    """Whether containers are nested more than ``limit`` deep."""
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


def is_id(value: JsonValue) -> bool:
    """Whether ``value`` can be an identifier at all."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS
