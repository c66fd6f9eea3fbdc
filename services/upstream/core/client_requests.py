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
from services.upstream.core.caller_turns import CallerTurns
from services.upstream.core.capabilities import MESSAGES, Capabilities, Capability, unsupported
from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.commands import CountError
from services.upstream.core.event_fields import refuse_other_fields
from services.upstream.core.ids import IdMap
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.item_events import ItemEvents
from services.upstream.core.item_order import ROOT
from services.upstream.core.item_registry import ItemRegistry
from services.upstream.core.json_shape import Json, fields, is_too_deep, objects, text, whole
from services.upstream.core.responses import ResponseTracker
from services.upstream.core.session_config_state import VOICE, SessionConfigState
from services.upstream.core.session_updates import UNSUPPORTED, SessionUpdates
from services.upstream.core.usage import Tally

_ITEM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
LOCKED = "locked_by_token"
CONFIRMATION_S = 5.0
"""Longest that a client's event waits for the provider to confirm the utterance that it names."""
_MAX_WAITING = 64
_NEVER_WAITS = frozenset({"output_audio_buffer.clear", "response.cancel"})


class ClientEventError(Exception):
    """The client's event is refused; becomes an `error` event in the provider's shape."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class _UnconfirmedItemError(ClientEventError):
    """The event names an utterance that was committed, and the provider has not told its id yet."""


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
        self._waiting: deque[tuple[Json, float]] = deque()  # in order, with the time of arrival
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
        if (self._waiting and text(event, "type") not in _NEVER_WAITS) or not self._is_handled(event, now, since=now):
            self._wait(event, now)

    def proceed(self, now: float) -> None:
        """Handle the events that waited for the provider to confirm an utterance, and those behind them."""
        while self._waiting and self._is_handled(self._waiting[0][0], now, since=self._waiting[0][1]):
            self._waiting.popleft()

    def _wait(self, event: Json, now: float) -> None:
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append((event, now))
            return
        self._commands.count_error(CountError("backlog", "event"))
        self._commands.publish_error(
            code="too_many_events",
            message="Too many events wait for the provider to confirm an item.",
            client_event_id=event_id(event),
        )

    def _is_handled(self, event: Json, now: float, *, since: float) -> bool:
        """Handle the event; return whether it was carried out or refused, and need not wait."""
        try:
            self._parts.config.check_locks(event)
            refuse_other_fields(event)
            self._handlers.get(text(event, "type"), self._unknown)(event, now)
        except _UnconfirmedItemError as exc:
            if now - since < CONFIRMATION_S:
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
            raise ClientEventError(
                "too_many_events", "Too many events wait for the provider: send this one again later."
            )

    def _unknown(self, event: Json, _: float) -> None:
        known = ", ".join(f"'{name}'" for name in self._handlers)
        wrong = text(event, "type")[:64]
        raise ClientEventError("invalid_value", f"Invalid value: '{wrong}'. Supported values are: {known}.", "type")

    def _session_update(self, event: Json, now: float) -> None:
        parameters = _required(event, "session")
        self._refuse_unsupported(parameters, "session")
        config, updates = self._parts.config, self._parts.updates
        changed = config.changes_of(parameters, pending=updates.pending_changes)
        if config.changes_fixed_voice(changed, pending=updates.pending_changes):
            fixed = "Cannot update a conversation's voice if assistant audio is present."
            raise ClientEventError("cannot_update_voice", fixed, f"session.{VOICE}")
        if updates.is_full or not updates.request(changed, _origin(event), now=now):
            raise ClientEventError(
                "too_many_events", "Too many updates wait for the provider: send this one again later."
            )

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
            raise _too_many()
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
        parameters = event.get("response")
        if not isinstance(parameters, (dict, type(None))):
            raise ClientEventError("invalid_type", "Invalid type for 'response': expected an object.", "response")
        body = self._parts.config.for_response(parameters or {})
        self._refuse_unsupported(body, "response")
        self._parts.config.check_response_tools(body, pending=self._parts.updates.pending_changes)
        if "input" in body:
            body["input"] = [*map(self._for_provider, objects(body, "input"))]
        modalities = body.get("output_modalities") or self._parts.config.effective.get("output_modalities")
        self._parts.responses.request(
            body, asker="client", client_event_id=event_id(event), is_text=modalities == ["text"], now=now
        )

    def _response_cancel(self, event: Json, now: float) -> None:
        if not self._parts.responses.cancel(text(event, "response_id") or None, now=now):
            raise ClientEventError("response_cancel_not_active", "Cancellation failed: no active response found")

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
            error = _UnconfirmedItemError if ours in self._parts.conversation else ClientEventError
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


def _too_many() -> ClientEventError:
    return ClientEventError("too_many_events", "Too many events wait for the provider: send this one again later.")


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
