"""Which fields of its session the holder of a token may change: in the offer, by updates, and for one response."""

from collections.abc import Collection, Mapping

from pydantic import JsonValue

from services.contracts.session.fields import BETA_FIELDS, SessionConfig, SessionFields
from services.contracts.session.merge import merge_sessions

ALWAYS_LOCKED = ("model",)
"""Fields that a client can never change; limits are not part of the session at all."""

LOCKABLE = frozenset(SessionFields.model_fields) - {"type"}
"""Fields that a grant can lock by name."""


class LockedFieldError(ValueError):
    """A client changes a field that its token locks."""

    def __init__(self, field: str) -> None:
        super().__init__(f"session.{field} is locked by the token and cannot be changed")
        self.param = f"session.{field}"


def redeem_session(granted: SessionConfig, wanted: SessionConfig, *, locked: Collection[str]) -> SessionConfig:
    """Return the session of a call: ``granted`` merged with ``wanted``. Repeating a locked value is allowed.

    Raises:
        LockedFieldError: ``wanted`` changes a locked field.
    """
    result = merge_sessions(granted, wanted)
    for field in sorted({*ALWAYS_LOCKED, *locked}):
        if not _is_same_json(result.get(field), granted.get(field)):
            raise LockedFieldError(field)
    return result


def unlocked_fields(wanted: Mapping[str, JsonValue], *, locked: Collection[str]) -> SessionConfig:
    """Return the fields of a `session.update`, or of the parameters of a `response.create`, that are not locked."""
    refused = {*ALWAYS_LOCKED, *locked, *BETA_FIELDS}
    return {name: value for name, value in wanted.items() if name not in refused}


def _is_same_json(one: JsonValue, other: JsonValue) -> bool:
    """Compare as JSON does: the order of names does not matter, 1 equals 1.0, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same_json, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
