"""The provider's `error` events."""

from services.upstream.core.command_buffer import Origin
from services.upstream.core.commands import CountError
from services.upstream.core.json_shape import Json, text
from services.upstream.core.session_parts import Parts

_QUIET_ERRORS = frozenset({"response_cancel_not_active", "conversation_already_has_active_response"})
_QUIET_KINDS = frozenset(
    {
        "conversation.item.create",
        "conversation.item.delete",
        "conversation.item.truncate",
        "input_audio_buffer.clear",
        "response.cancel",
    }
)


class ProviderErrors:
    """Undoes what the provider refused, and publishes the errors that the client has to get."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._ids = parts.ids

    def on_error(self, error: Json, now: float) -> None:
        """Handle the ``error`` of an `error` event."""
        code = text(error, "code") or None
        origin = self._parts.updates.blamed(self._commands.origin_of(error.get("event_id")), error)
        self._commands.count_error(CountError("error_event", (code or "")[:64]))
        if origin and self._parts.updates.on_refused(origin, error):
            return
        if self._is_handled(origin, code, now):
            return
        self._commands.publish_error(
            kind=text(error, "type", "server_error"),
            code=code,
            message=self._ids.scrub(text(error, "message", "The provider reports an error.")),
            param=text(error, "param") or None,
            client_event_id=origin.client_event_id if origin else None,
        )
        self._parts.updates.apply_own()

    def _is_handled(self, origin: Origin | None, code: str | None, now: float) -> bool:
        """Undo what the provider refused; return whether the client need not get the error."""
        kind = origin.kind if origin else ""
        is_active = code == "conversation_already_has_active_response"
        if self._parts.eager.is_refused(origin, is_active=is_active, now=now):
            return True
        if kind == "response.create" or (origin is None and is_active):
            return self._parts.responses.request_refused(origin, is_active=is_active, now=now)
        match origin:
            case Origin(kind="input_audio_buffer.commit", item_id=str(item_id)):
                self._parts.input_buffer.commit_failed(item_id)
            case Origin(kind="conversation.item.create", item_id=str(item_id)):
                self._parts.item_events.create_failed(item_id)
            case Origin(kind="conversation.item.delete", item_id=str(item_id)):
                self._parts.item_events.delete_failed(item_id)
            case Origin(kind="conversation.item.truncate", by_client=True, item_id=str(item_id)):
                self._parts.item_events.truncate_failed(item_id)
        return code in _QUIET_ERRORS or (kind in _QUIET_KINDS and origin is not None and not origin.by_client)
