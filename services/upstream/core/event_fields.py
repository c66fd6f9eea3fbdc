"""The fields of the client's events: which it needs, and which it may have. Others would have no effect: refused."""

from services.contracts.session.fields import ResponseFields, SessionFields
from services.contracts.session.parse import InvalidSessionError
from services.upstream.core.json_shape import Json, text, whole

_EVERY_EVENT = frozenset({"type", "event_id"})
_FIELDS: dict[str, frozenset[str]] = {
    "session.update": frozenset({"session"}),
    "input_audio_buffer.append": frozenset({"audio"}),
    "input_audio_buffer.commit": frozenset(),
    "input_audio_buffer.clear": frozenset(),
    "output_audio_buffer.clear": frozenset(),
    "conversation.item.create": frozenset({"item", "previous_item_id"}),
    "conversation.item.retrieve": frozenset({"item_id"}),
    "conversation.item.truncate": frozenset({"item_id", "content_index", "audio_end_ms"}),
    "conversation.item.delete": frozenset({"item_id"}),
    "response.create": frozenset({"response"}),
    "response.cancel": frozenset({"response_id"}),
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "session.update": ("session",),
    "input_audio_buffer.append": ("audio",),
    "conversation.item.create": ("item",),
    "conversation.item.retrieve": ("item_id",),
    "conversation.item.truncate": ("item_id", "content_index", "audio_end_ms"),
    "conversation.item.delete": ("item_id",),
}
_INTEGERS = ("content_index", "audio_end_ms")
_OBJECTS = ("session", "item", "response")
_SETTINGS = {
    "session.update": ("session", frozenset(SessionFields.model_fields)),
    "response.create": ("response", frozenset(ResponseFields.model_fields)),
}
"""The field of an event that carries settings, and their names."""


def check_fields(event: Json) -> None:
    """Check that a client event has the fields that it needs, and no others, each of its type.

    Raises:
        InvalidSessionError: it has not. `null` counts as not given.
    """
    kind = text(event, "type")
    known = _FIELDS.get(kind)
    if known is None:
        return
    holder, settings = _SETTINGS.get(kind, ("", frozenset()))
    for name in sorted(event.keys() - known - _EVERY_EVENT):
        hint = f" It belongs into '{holder}'." if name in settings else ""
        message = f"Unknown parameter: '{name[:64]}'.{hint}"
        raise InvalidSessionError(name[:64], message, code="unknown_parameter")
    for name in _REQUIRED.get(kind, ()):
        if event.get(name) is None:
            raise InvalidSessionError(name, f"Missing required parameter: '{name}'.", code="missing_required_parameter")
    for name in sorted(known & event.keys()):
        expected = _mismatch(event, name)
        if expected:
            message = f"Invalid type for '{name}': expected {expected}."
            raise InvalidSessionError(name, message, code="invalid_type")


def _mismatch(event: Json, name: str) -> str:
    """Return what the field should be if it is of another type; empty if it is of its own, or null."""
    value = event[name]
    if value is None:
        return ""
    if name in _INTEGERS:
        return "" if whole(event, name, -1) >= 0 else "an integer from 0 on"
    if name in _OBJECTS:
        return "" if isinstance(value, dict) else "an object"
    is_text = isinstance(value, str) and (value or name == "audio")
    return "" if is_text else "text"
