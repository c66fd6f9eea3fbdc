"""The fields of the client's events: what an event has beside them would have no effect, so it is refused."""

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
_SETTINGS = {
    "session.update": ("session", frozenset(SessionFields.model_fields)),
    "response.create": ("response", frozenset(ResponseFields.model_fields)),
}
"""The field of an event that carries settings, and their names."""


def refuse_other_fields(event: Json) -> None:
    """Check that a client event has no fields but its own, and none of a wrong type that would count as missing.

    Raises:
        InvalidSessionError: it has. `null` counts as not given.
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
    if event.get("response_id") is not None and not text(event, "response_id"):
        raise InvalidSessionError("response_id", "Invalid type for 'response_id': expected an id.", code="invalid_type")
    if event.get("content_index") is not None and whole(event, "content_index", -1) < 0:
        message = "Invalid type for 'content_index': expected an integer from 0 on."
        raise InvalidSessionError("content_index", message, code="invalid_type")
