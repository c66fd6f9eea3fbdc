"""The client's events: validated, then sent on with the provider's ids, answered here or refused."""

import base64
import binascii
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.audio import SAMPLE_BYTES
from services.contracts.client_event import RefusedEvent, event_id
from services.contracts.session.locks import LockedFieldError
from services.contracts.session.parse import InvalidSessionError
from services.upstream.core.capabilities import unsupported
from services.upstream.core.client_event_error import (
    TOO_MANY,
    ClientEventError,
    NotYetError,
    UnconfirmedError,
    origin_of,
    unsupported_error,
)
from services.upstream.core.command_buffer import MAX_HELD_EVENT_BYTES, MAX_HELD_EVENTS
from services.upstream.core.event_fields import check_fields
from services.upstream.core.item_requests import ItemRequests
from services.upstream.core.json_shape import Json, fields, is_too_deep, objects, text, text_chars
from services.upstream.core.session_config_state import VOICE
from services.upstream.core.session_parts import Parts

LOCKED = "locked_by_token"
CONFIRMATION_S = 5.0
"""Longest that a client's event waits for a confirmation: of the utterance that it names, or of truncations."""
_NEVER_WAITS = frozenset({"output_audio_buffer.clear", "response.cancel"})


@dataclass(slots=True, eq=False)
class _WaitingEvent:
    event: Json
    since: float
    is_cancelled: bool = False  # a request for a response


class Requests:
    """Handles the client's events of one session."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._items = ItemRequests(parts)
        self._waiting: deque[_WaitingEvent] = deque()
        self._waiting_chars = 0
        self._handlers: dict[str, Callable[[Json, float], None]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "output_audio_buffer.clear": self._clear_output,
            "conversation.item.create": self._items.create,
            "conversation.item.retrieve": self._items.retrieve,
            "conversation.item.truncate": self._items.truncate,
            "conversation.item.delete": self._items.delete,
            "response.create": self._response_create,
            "response.cancel": self._response_cancel,
        }

    def on_client_event(self, event: JsonValue, now: float) -> None:
        """Handle ``event``, any JSON; publish an `error` event if it is refused."""
        if not isinstance(event, dict):
            self._commands.publish_error(code="invalid_event", message="The event is not a JSON object.")
            return
        if is_too_deep(event):
            self._commands.publish_error(
                code="invalid_event", message="The event is nested too deeply.", client_event_id=event_id(event)
            )
            return
        arrived = _WaitingEvent(event, now)
        if (self._waiting and text(event, "type") not in _NEVER_WAITS) or not self._is_handled(arrived, now):
            self._waiting.append(arrived)
            self._waiting_chars += text_chars(event)

    @property
    def has_room(self) -> bool:
        """Whether a further event may wait here."""
        return len(self._waiting) < MAX_HELD_EVENTS and self._waiting_chars < MAX_HELD_EVENT_BYTES

    @property
    def is_idle(self) -> bool:
        """Whether no event waits here."""
        return not self._waiting

    def proceed(self, now: float) -> None:
        """Handle the events that waited for what is in progress, and those behind them."""
        while self._waiting and self._commands.is_open and not self._parts.input_buffer.awaits_rate:
            if not self._is_handled(self._waiting[0], now):
                return
            self._waiting_chars -= text_chars(self._waiting.popleft().event)

    def _is_handled(self, waiting: _WaitingEvent, now: float) -> bool:
        """Handle the event; return whether it was carried out or refused, and need not wait."""
        event = waiting.event
        handle = self._handlers.get(text(event, "type"), self._unknown)
        try:
            self._parts.config.check_locks(event)
            check_fields(event)
            (self._response_create_cancelled if waiting.is_cancelled else handle)(event, now)
        except NotYetError:
            return False
        except UnconfirmedError as exc:
            if now - waiting.since < CONFIRMATION_S:
                return False
            self._refuse(event, exc.code, exc, exc.param)
        except (ClientEventError, InvalidSessionError) as exc:
            self._refuse(event, exc.code, exc, exc.param)
        except LockedFieldError as exc:
            self._refuse(event, LOCKED, exc, exc.param)
        return True

    def refuse(self, refused: RefusedEvent) -> None:
        """Publish the `error` event for what is no event."""
        self._commands.publish_error(
            code=refused.code, message=refused.message, param=refused.param, client_event_id=refused.event_id
        )

    def _refuse(self, event: Json, code: str, reason: Exception, param: str | None) -> None:
        self._commands.publish_error(code=code, message=str(reason), param=param, client_event_id=event_id(event))

    def _unknown(self, event: Json, _: float) -> None:
        known = ", ".join(f"'{name}'" for name in self._handlers)
        wrong = text(event, "type")[:64]
        raise ClientEventError("invalid_value", f"Invalid value: '{wrong}'. Supported values are: {known}.", "type")

    def _session_update(self, event: Json, now: float) -> None:
        parameters = fields(event, "session")
        config, updates = self._parts.config, self._parts.updates
        if updates.is_full:
            raise NotYetError
        self._refuse_unsupported(parameters, "session")
        changed = config.changes_of(parameters, pending=updates.pending_changes)
        if config.changes_fixed_voice(changed, pending=updates.pending_changes):
            fixed = "Cannot update a conversation's voice if assistant audio is present."
            raise ClientEventError("cannot_update_voice", fixed, f"session.{VOICE}")
        if not updates.request(changed, origin_of(event), now=now):
            raise ClientEventError(*TOO_MANY)

    def _append(self, event: Json, now: float) -> None:
        encoded = text(event, "audio")
        try:
            pcm = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as exc:
            raise ClientEventError(
                "invalid_value", "Invalid 'audio'. Expected base64-encoded audio bytes.", "audio"
            ) from exc
        if not pcm or len(pcm) % SAMPLE_BYTES:
            raise ClientEventError("invalid_value", "Invalid 'audio'. Expected 16-bit samples.", "audio")
        self._parts.input_buffer.append_client_audio(pcm, encoded, client_event_id=event_id(event), now=now)

    def _commit(self, event: Json, _: float) -> None:
        if not self._parts.capabilities.manual_turns:
            raise unsupported_error(self._commands, "manual_turns")
        if not self._parts.input_buffer.commit_for_client(event_id(event)):
            raise ClientEventError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio.",
            )

    def _clear(self, event: Json, _: float) -> None:
        if not self._parts.capabilities.manual_turns:
            raise unsupported_error(self._commands, "manual_turns")
        self._parts.input_buffer.clear_for_client(origin_of(event))

    def _clear_output(self, _: Json, __: float) -> None:
        """Refuse what media has not read, because of its length."""
        raise ClientEventError("invalid_event", "An 'output_audio_buffer.clear' has no further fields: it is too long.")

    def _response_create(self, event: Json, now: float) -> None:
        body = self._response_parameters(event)
        modalities = body.get("output_modalities") or self._parts.config.effective.get("output_modalities")
        self._parts.responses.request(
            body, asker="client", client_event_id=event_id(event), is_text=modalities == ["text"], now=now
        )

    def _response_create_cancelled(self, event: Json, now: float) -> None:
        """Handle a request of the conversation that the client has cancelled while it waited here."""
        self._parts.responses.request_cancelled(self._response_parameters(event), now=now)

    def _response_parameters(self, event: Json) -> Json:
        if not self._parts.responses.takes_requests:
            raise NotYetError
        body = self._parts.config.for_response(fields(event, "response"))
        self._refuse_unsupported(body, "response")
        self._parts.config.check_response_tools(body, pending=self._parts.updates.pending_changes)
        if "input" in body:
            body["input"] = [*self._items.as_input(objects(body, "input"))]
        return body

    def _response_cancel(self, event: Json, now: float) -> None:
        response_id = text(event, "response_id") or None
        waiting = [w for w in self._waiting if response_id is None and _asks_conversation(w.event)]
        is_active = self._parts.responses.cancel(response_id, now=now)
        if not is_active and all(request.is_cancelled for request in waiting):
            raise ClientEventError("response_cancel_not_active", "Cancellation failed: no active response found")
        for request in waiting:
            request.is_cancelled = True

    def _refuse_unsupported(self, parameters: Json, name: str) -> None:
        for parameter in unsupported(parameters, self._parts.capabilities):
            raise unsupported_error(self._commands, parameter.capability, f"{name}.{parameter.param}")


def _asks_conversation(event: Json) -> bool:
    return text(event, "type") == "response.create" and fields(event, "response").get("conversation") != "none"
