"""The client's events about items of the conversation."""

import re

from services.contracts.audio import samples_to_ms
from services.contracts.ids import new_item_id
from services.contracts.session.parse_item import check_item
from services.upstream.core.client_event_error import (
    TOO_MANY,
    ClientEventError,
    UnconfirmedError,
    origin_of,
    unsupported_error,
)
from services.upstream.core.item_order import ROOT
from services.upstream.core.json_shape import Json, fields, text, whole
from services.upstream.core.session_parts import Parts

_ITEM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MAX_CALL_ID = 256


class ItemRequests:
    """Handles `conversation.item.*` of the client; a handler raises what `client_event_error` defines."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._ids = parts.ids

    def create(self, event: Json, _: float) -> None:
        """Handle `conversation.item.create`."""
        item = fields(event, "item")
        check_item(item)
        chosen = item.get("id")
        if chosen is not None and (not isinstance(chosen, str) or not _ITEM_ID.match(chosen)):
            raise ClientEventError("invalid_value", "Invalid 'item.id': up to 64 of A-Z a-z 0-9 _ -.", "item.id")
        if chosen == ROOT:
            raise ClientEventError("invalid_value", f"Invalid 'item.id': '{ROOT}' names the beginning.", "item.id")
        self._keep_call_id(item)
        item_id = chosen or new_item_id()
        if item_id in self._parts.conversation.order:
            # Clients change an item by deleting it and creating it anew, without waiting for `deleted`.
            error = UnconfirmedError if self._parts.item_events.is_deleting(item_id) else ClientEventError
            raise error("item_create_duplicate_id", f"Item with id '{item_id}' already exists.", "item.id")
        body: Json = {"item": self._for_provider({**item, "id": item_id})}
        behind = self._behind(event)
        if behind is not None:
            anchor = self._parts.conversation.order.provider_anchor(behind)
            body["previous_item_id"] = ROOT if anchor is None else self._theirs(anchor, "previous_item_id", "create")
        self._send(event, "conversation.item.create", body, item_id)
        origin = origin_of(event, item_id)
        self._parts.item_events.create_sent(item_id, fields(body, "item"), behind=behind, origin=origin)
        self._parts.tally.items_created += 1

    def _keep_call_id(self, item: Json) -> None:
        """Let the client see the id of a function call that it chose, instead of one of ours."""
        call_id = text(item, "call_id")
        if len(call_id) > _MAX_CALL_ID:
            message = f"Invalid 'item.call_id': up to {_MAX_CALL_ID} characters."
            raise ClientEventError("invalid_value", message, "item.call_id")
        is_new = self._ids.theirs("tool_call", call_id) is None and self._ids.known("tool_call", call_id) is None
        if call_id and is_new:
            self._ids.bind("tool_call", ours=call_id, theirs=call_id)

    def _behind(self, event: Json) -> str | None:
        """Return the item behind which the client puts a new one, `ROOT`, or None for the end."""
        if event.get("previous_item_id") is None:
            return None
        previous = text(event, "previous_item_id")
        if previous != ROOT and previous not in self._parts.conversation.order:
            raise _no_such_item(previous, "previous_item_id", "create")
        return previous

    def retrieve(self, event: Json, _: float) -> None:
        """Handle `conversation.item.retrieve`."""
        theirs = self._item(event, "item_id", "retrieve")
        self._send(event, "conversation.item.retrieve", {"item_id": theirs})

    def truncate(self, event: Json, _: float) -> None:
        """Handle `conversation.item.truncate`."""
        if not self._parts.capabilities.truncate:
            raise unsupported_error(self._commands, "truncate")
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
            raise UnconfirmedError(*TOO_MANY)
        self._send(event, "conversation.item.truncate", cut, item_id)
        self._parts.item_events.truncate_sent(item_id)

    def delete(self, event: Json, _: float) -> None:
        """Handle `conversation.item.delete`."""
        if not self._parts.capabilities.delete:
            raise unsupported_error(self._commands, "delete")
        item_id = text(event, "item_id")
        if self._parts.item_events.delete_absent(item_id):
            return
        theirs = self._item(event, "item_id", "delete")
        self._send(event, "conversation.item.delete", {"item_id": theirs}, item_id)
        self._parts.item_events.delete_sent(item_id)

    def _send(self, event: Json, kind: str, body: Json, item_id: str | None = None) -> None:
        """Send the provider what a client's event asks for.

        Raises:
            ClientEventError: too much waits for the provider.
        """
        if not self._commands.send_to_provider(kind, body, origin=origin_of(event, item_id)):
            raise ClientEventError(*TOO_MANY)

    def _item(self, event: Json, name: str, verb: str) -> str:
        """Return the provider's id of the item in the field ``name``.

        Raises:
            ClientEventError: there is none.
        """
        return self._theirs(text(event, name), name, verb)

    def _theirs(self, ours: str, name: str, verb: str) -> str:
        theirs = self._ids.theirs("item", ours)
        if theirs is None:
            error = UnconfirmedError if ours in self._parts.conversation else ClientEventError
            raise _no_such_item(ours, name, verb, error)
        return theirs

    def as_input(self, items: list[Json]) -> list[Json]:
        """Return the items that a response gets instead of the conversation, with the provider's ids.

        Raises:
            InvalidSessionError: one has an unknown field or a wrong value.
        """
        for index, item in enumerate(items):
            check_item(item, f"response.input[{index}]", as_input=True)
        return [*map(self._for_provider, items)]

    def _for_provider(self, item: Json) -> Json:
        """Return an item, or a reference to one, with the provider's ids."""
        known = {**item}
        if (call_id := self._ids.theirs("tool_call", text(item, "call_id"))) is not None:
            known["call_id"] = call_id
        for name in ("id", "approval_request_id"):
            if (theirs := self._ids.theirs("item", text(item, name))) is not None:
                known[name] = theirs
        return known


def _no_such_item(
    item_id: str, name: str, verb: str, error: type[ClientEventError] = ClientEventError
) -> ClientEventError:
    message = f"Error: the item with id '{item_id[:64]}' does not exist."
    return error(f"item_{verb}_invalid_{name}", message, name)
