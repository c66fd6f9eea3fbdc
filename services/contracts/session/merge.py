"""Merges an update into a session. Merging is associative: several updates can be merged before they are applied."""

from collections.abc import Mapping

from pydantic import JsonValue

from services.contracts.session.fields import MERGED, NULLABLE, SessionConfig


def merge_sessions(base: Mapping[str, JsonValue], update: Mapping[str, JsonValue]) -> SessionConfig:
    """Return ``base`` updated by ``update``: audio, its input and its output field by field, other fields as a whole.

    `null` is kept where it disables something; elsewhere it leaves the field of ``base`` unchanged.
    """
    return _merge(base, update, "")


def _merge(base: Mapping[str, JsonValue], update: Mapping[str, JsonValue], path: str) -> SessionConfig:
    result = dict(base)
    for name, value in update.items():
        here = f"{path}{name}"
        if here in MERGED and isinstance(value, dict):
            below = result.get(name)
            result[name] = _merge(below if isinstance(below, dict) else {}, value, f"{here}.")
        elif value is not None or here in NULLABLE:
            result[name] = value
    return result
