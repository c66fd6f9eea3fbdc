"""The client's events: validated, then sent on with the provider's ids, answered here or refused."""

import base64
import binascii
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.audio import SAMPLE_BYTES, samples_to_ms
from services.contracts.client_event import RefusedEvent, event_id
from services.contracts.ids import new_item_id
from services.contracts.session.locks import LockedFieldError
from services.contracts.session.parse import InvalidSessionError
from services.contracts.session.parse_item import check_item
from services.upstream.core.caller_turns import CallerTurns
from services.upstream.core.capabilities import MESSAGES, Capabilities, Capability, unsupported
from services.upstream.core.command_buffer import MAX_HELD_EVENT_BYTES, MAX_HELD_EVENTS, CommandBuffer, Origin
from services.upstream.core.event_fields import refuse_other_fields
from services.upstream.core.ids import IdMap
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.item_events import ItemEvents
from services.upstream.core.item_order import ROOT
from services.upstream.core.item_registry import ItemRegistry
from services.upstream.core.json_shape import Json, fields, is_too_deep, objects, text, text_chars, whole
from services.upstream.core.responses import ResponseTracker
from services.upstream.core.session_config_state import VOICE, SessionConfigState
from services.upstream.core.session_updates import UNSUPPORTED, SessionUpdates
from services.upstream.core.usage import Tally

_ITEM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
LOCKED = "locked_by_token"
CONFIRMATION_S = 5.0
"""Longest that a client's event waits for a confirmation: of the utterance that it names, or of truncations."""
_NEVER_WAITS = frozenset({"output_audio_buffer.clear", "response.cancel"})
_TOO_MANY = ("too_many_events", "Too many events wait for the provider: send this one again later.")


class ClientEventError(Exception):
    """The client's event is refused; becomes an `error` event in the provider's shape."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class _UnconfirmedError(ClientEventError):
    """The event waits for a confirmation of the provider, and is refused after `CONFIRMATION_S`."""


class _NotYetError(Exception):
    """The event waits for events before it, which all end in time."""


@dataclass(slots=True, eq=False)
class _WaitingEvent:
    event: Json
    since: float
    is_cancelled: bool = False  # a request for a response


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a session core that client events and new connections use."""

    commands: CommandBuffer
    ids: IdMap
    config: SessionConfigState
    conversation: ItemRegistry
    responses: ResponseTracker
    input_buffer: InputAudioBuffer
    turns: CallerTurns
    item_events: ItemEvents
    tally: Tally
    capabilities: Capabilities
    updates: SessionUpdates


class Requests:
    """Handles the client's events of one session."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._ids = parts.ids
        self._waiting: deque[_WaitingEvent] = deque()
        self._waiting_chars = 0
        self._handlers: dict[str, Callable[[Json, float], None]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "output_audio_buffer.clear": self._clear_output,
            "conversation.item.create": self._item_create,
            "conversation.item.retrieve": self._item_retrieve,
            "conversation.item.truncate": self._item_truncate,
            "conversation.item.delete": self._item_delete,
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
            refuse_other_fields(event)
            (self._response_create_cancelled if waiting.is_cancelled else handle)(event, now)
        except _NotYetError:
            return False
        except _UnconfirmedError as exc:
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

    def _send(self, event: Json, kind: str, body: Json, item_id: str | None = None) -> None:
        """Send the provider what a client's event asks for.

        Raises:
            ClientEventError: too much waits for the provider.
        """
        if not self._commands.send_to_provider(kind, body, origin=_origin(event, item_id)):
            raise ClientEventError(*_TOO_MANY)

    def _unknown(self, event: Json, _: float) -> None:
        known = ", ".join(f"'{name}'" for name in self._handlers)
        wrong = text(event, "type")[:64]
        raise ClientEventError("invalid_value", f"Invalid value: '{wrong}'. Supported values are: {known}.", "type")

    def _session_update(self, event: Json, now: float) -> None:
        parameters = _required(event, "session")
        config, updates = self._parts.config, self._parts.updates
        if updates.is_full:
            raise _NotYetError
        self._refuse_unsupported(parameters, "session")
        changed = config.changes_of(parameters, pending=updates.pending_changes)
        if config.changes_fixed_voice(changed, pending=updates.pending_changes):
            fixed = "Cannot update a conversation's voice if assistant audio is present."
            raise ClientEventError("cannot_update_voice", fixed, f"session.{VOICE}")
        if not updates.request(changed, _origin(event), now=now):
            raise ClientEventError(*_TOO_MANY)

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
            raise self._unsupported("manual_turns")
        if not self._parts.input_buffer.commit_for_client(event_id(event)):
            raise ClientEventError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio.",
            )

    def _clear(self, event: Json, _: float) -> None:
        if not self._parts.capabilities.manual_turns:
            raise self._unsupported("manual_turns")
        self._parts.input_buffer.clear_for_client(_origin(event))

    def _clear_output(self, _: Json, __: float) -> None:
        """Refuse what media has not read, because of its length."""
        raise ClientEventError("invalid_event", "An 'output_audio_buffer.clear' has no further fields: it is too long.")

    def _item_create(self, event: Json, _: float) -> None:
        item = dict(_required(event, "item"))
        check_item(item)
        chosen = item.get("id")
        if chosen is not None and (not isinstance(chosen, str) or not _ITEM_ID.match(chosen)):
            raise ClientEventError("invalid_value", "Invalid 'item.id': up to 64 of A-Z a-z 0-9 _ -.", "item.id")
        item_id = chosen or new_item_id()
        if item_id in self._parts.conversation.order:
            raise ClientEventError("item_create_duplicate_id", f"Item with id '{item_id}' already exists.", "item.id")
        body: Json = {"item": self._for_provider({**item, "id": item_id})}
        behind = self._behind(event)
        if behind is not None:
            anchor = self._parts.conversation.order.provider_anchor(behind)
            body["previous_item_id"] = ROOT if anchor is None else self._theirs(anchor, "previous_item_id", "create")
        self._send(event, "conversation.item.create", body, item_id)
        origin = _origin(event, item_id)
        self._parts.item_events.create_sent(item_id, fields(body, "item"), behind=behind, origin=origin)
        self._parts.tally.items_created += 1

    def _behind(self, event: Json) -> str | None:
        """Return the item behind which the client puts a new one, `ROOT`, or None for the end."""
        if event.get("previous_item_id") is None:
            return None
        previous = text(event, "previous_item_id")
        if previous != ROOT and previous not in self._parts.conversation.order:
            raise _no_such_item(previous, "previous_item_id", "create")
        return previous

    def _item_retrieve(self, event: Json, _: float) -> None:
        theirs = self._item(event, "item_id", "retrieve")
        self._send(event, "conversation.item.retrieve", {"item_id": theirs})

    def _item_truncate(self, event: Json, _: float) -> None:
        if not self._parts.capabilities.truncate:
            raise self._unsupported("truncate")
        theirs = self._item(event, "item_id", "truncate")
        item_id, end_ms = text(event, "item_id"), whole(event, "audio_end_ms", -1)
        samples = self._parts.conversation.samples(item_id)
        if samples is None:
            raise ClientEventError("invalid_value", "Only model output audio messages can be truncated.", "item_id")
        if not 0 <= end_ms <= samples_to_ms(samples):
            has = f"Audio content of {samples_to_ms(samples)}ms is already shorter than the requested 'audio_end_ms'."
            raise ClientEventError("invalid_value", has, "audio_end_ms")
        cut: Json = {"item_id": theirs, "content_index": whole(event, "content_index"), "audio_end_ms": end_ms}
        if not self._parts.item_events.takes_truncations:
            raise _UnconfirmedError(*_TOO_MANY)
        self._send(event, "conversation.item.truncate", cut, item_id)
        self._parts.item_events.truncate_sent(item_id)

    def _item_delete(self, event: Json, _: float) -> None:
        item_id = text(event, "item_id")
        if self._parts.item_events.delete_absent(item_id):
            return
        theirs = self._item(event, "item_id", "delete")
        self._send(event, "conversation.item.delete", {"item_id": theirs}, item_id)
        self._parts.item_events.delete_sent(item_id)

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
            raise _NotYetError
        parameters = event.get("response")
        if not isinstance(parameters, (dict, type(None))):
            raise ClientEventError("invalid_type", "Invalid type for 'response': expected an object.", "response")
        body = self._parts.config.for_response(parameters or {})
        self._refuse_unsupported(body, "response")
        self._parts.config.check_response_tools(body, pending=self._parts.updates.pending_changes)
        if "input" in body:
            items = objects(body, "input")
            for index, item in enumerate(items):
                check_item(item, f"response.input[{index}]", as_input=True)
            body["input"] = [*map(self._for_provider, items)]
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
            raise self._unsupported(parameter.capability, f"{name}.{parameter.param}")

    def _unsupported(self, capability: Capability, param: str | None = None) -> ClientEventError:
        self._commands.count_missing(capability)
        return ClientEventError(UNSUPPORTED, MESSAGES[capability], param)

    def _item(self, event: Json, name: str, verb: str) -> str:
        """Return the provider's id of the item in the field ``name``.

        Raises:
            ClientEventError: there is none.
        """
        return self._theirs(text(event, name), name, verb)

    def _theirs(self, ours: str, name: str, verb: str) -> str:
        theirs = self._ids.theirs("item", ours)
        if theirs is None:
            error = _UnconfirmedError if ours in self._parts.conversation else ClientEventError
            raise _no_such_item(ours, name, verb, error)
        return theirs

    def _for_provider(self, item: Json) -> Json:
        """Return an item, or a reference to one, with the provider's ids."""
        known = {**item}
        if (call_id := self._ids.theirs("tool_call", text(item, "call_id"))) is not None:
            known["call_id"] = call_id
        for name in ("id", "approval_request_id"):
            if (theirs := self._ids.theirs("item", text(item, name))) is not None:
                known[name] = theirs
        return known


def _asks_conversation(event: Json) -> bool:
    return text(event, "type") == "response.create" and fields(event, "response").get("conversation") != "none"


def _required(event: Json, name: str) -> Json:
    if not isinstance(event.get(name), dict):
        raise ClientEventError("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    return fields(event, name)


def _no_such_item(
    item_id: str, name: str, verb: str, error: type[ClientEventError] = ClientEventError
) -> ClientEventError:
    message = f"Error: the item with id '{item_id[:64]}' does not exist."
    return error(f"item_{verb}_invalid_{name}", message, name)


def _origin(event: Json, item_id: str | None = None) -> Origin:
    return Origin(text(event, "type"), by_client=True, client_event_id=event_id(event), item_id=item_id)
