"""The conversation's items in their order, with their audio length and content."""

from collections import OrderedDict

from services.contracts.json_bytes import json_bytes
from services.upstream.core.ids import IdMap
from services.upstream.core.item_order import ItemOrder
from services.upstream.core.json_shape import Json, fields, objects, text, text_chars

MAX_ITEMS = 4096
MAX_REPEATED = 256
MAX_REPEATED_CHARS = 256 * 1024
"""Most characters of JSON of a conversation that are repeated in a new session with the provider."""
_ENDINGS = ("completed", "cancelled", "incomplete", "failed")
_REASONS = ("turn_detected", "client_cancelled", "max_output_tokens", "content_filter")


class ItemRegistry:
    """The conversation's items. Ids are ours."""

    def __init__(self) -> None:
        self.order = ItemOrder()
        self._samples: dict[str, int | None] = {}  # of every item; None: it has no audio
        self._added: set[str] = set()
        self._done: set[str] = set()
        self._response_items: set[str] = set()
        self._contents: OrderedDict[str, Json] = OrderedDict()  # in the form of `conversation.item.create`
        self._content_chars = 0

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._samples

    def mark_response_item(self, item_id: str) -> None:
        """Record that the item belongs to a response, which publishes its events."""
        self._response_items.add(item_id)

    def reserve(self, item_id: str, *, behind: str | None = None) -> None:
        """Add an item that the provider is asked for, at its place: behind an item, `ROOT` or, by default, the end."""
        self.order.reserve(item_id, behind=behind)
        self._keep(item_id)

    def append(self, item_id: str, *, as_of: int | None = None) -> None:
        """Add an item that the provider made by itself, at the end. ``as_of``: see `ItemOrder.append`."""
        if item_id not in self.order:
            self.order.append(item_id, as_of=as_of)
            self._keep(item_id)

    def remove(self, item_id: str) -> None:
        """Remove the item and its contents."""
        self.order.remove(item_id)
        self._forget(item_id)

    def is_response_item(self, item_id: str) -> bool:
        """A response writes the item's events."""
        return item_id in self._response_items

    def is_added(self, item_id: str) -> bool:
        """Whether the client got `added` of the item."""
        return item_id in self._added

    def add(self, item_id: str) -> str | None:
        """Record that the client gets `added` of the item; return its `previous_item_id`."""
        self._added.add(item_id)
        return self.order.show(item_id)

    def finish(self, item_id: str) -> bool:
        """Mark the item as complete; False if it was already."""
        if item_id in self._done:
            return False
        self._done.add(item_id)
        return True

    def set_samples(self, item_id: str, samples: int) -> None:
        """Set how many samples of audio of the item were generated."""
        if item_id in self._samples:
            self._samples[item_id] = samples

    def samples(self, item_id: str) -> int | None:
        """Return how many samples of audio of the item were generated; None if it has none."""
        return self._samples.get(item_id)

    def store_content(self, item_id: str, item: Json) -> None:
        """Store the item in the form of a `conversation.item.create`, for a new session; not one that is too large."""
        self._content_chars -= text_chars(self._contents.pop(item_id, None))
        size = text_chars(item)
        if size > MAX_REPEATED_CHARS or item_id not in self._samples:
            return
        self._contents[item_id] = item
        self._content_chars += size
        while self._content_chars > 2 * MAX_REPEATED_CHARS:
            self._content_chars -= text_chars(self._contents.popitem(last=False)[1])

    def begin_new_session(self) -> list[Json]:
        """Return the stored items that a new session with the provider is to create, the newest if there are many.

        They are in the order of the conversation. Audio lengths are forgotten: there is no audio there.
        """
        self._samples = dict.fromkeys(self._samples)
        repeated: list[str] = []
        left = MAX_REPEATED_CHARS
        for item_id in reversed(list(self.order)):
            item = self._contents.get(item_id)
            left -= len(json_bytes(item)) if item else 0
            if left < 0 or len(repeated) == MAX_REPEATED:
                break
            repeated += [item_id] if item else []
        while repeated and self._contents[repeated[-1]].get("type") == "function_call_output":  # its call is missing
            repeated.pop()
        repeated.reverse()
        self.order.begin_new_session(repeated)
        return [self._contents[item_id] for item_id in repeated]

    def _keep(self, item_id: str) -> None:
        self._samples[item_id] = None
        if len(self._samples) > MAX_ITEMS:
            self._forget(self.order.drop_first())

    def _forget(self, item_id: str) -> None:
        self._samples.pop(item_id, None)
        self._content_chars -= text_chars(self._contents.pop(item_id, None))
        for items in (self._added, self._done, self._response_items):
            items.discard(item_id)


def client_item(item: Json, *, item_id: str, ids: IdMap) -> Json:
    """Return a provider's item for the client: with our ids, without audio, with the keys that strict clients need."""
    for_client: Json = {
        name: value for name, value in item.items() if name not in ("id", "call_id", "approval_request_id")
    }
    for_client |= {"id": item_id, "object": "realtime.item"}
    if call_id := text(item, "call_id"):
        for_client["call_id"] = ids.ours("tool_call", call_id)
    if approval := text(item, "approval_request_id"):
        for_client["approval_request_id"] = ids.ours("item", approval)
    if "content" in item or item.get("type") == "message":
        for_client["content"] = [_client_content(part) for part in objects(item, "content")]
    return for_client


def _client_content(part: Json) -> Json:
    for_client = {name: value for name, value in part.items() if name != "audio"}
    if part.get("type") == "input_audio":
        for_client["transcript"] = text(part, "transcript") or None
    return for_client


def is_spoken(item: Json) -> bool:
    """Return whether the item is a caller's utterance."""
    return item.get("role") == "user" and any(part.get("type") == "input_audio" for part in objects(item, "content"))


def client_error(error: Json, ids: IdMap) -> Json:
    """Return the client's error object of a failed response or transcription."""
    return {
        "type": text(error, "type", "server_error"),
        "code": text(error, "code") or None,
        "message": ids.scrub(text(error, "message", "The provider failed.")),
    }


def status_details(response: Json, ids: IdMap) -> Json | None:
    """Return why a response ended, if the provider gave one of the Realtime API's reasons."""
    given = fields(response, "status_details")
    details: Json = {}
    if (kind := text(given, "type")) in _ENDINGS:
        details["type"] = kind
    if (reason := text(given, "reason")) in _REASONS:
        details["reason"] = reason
    if error := fields(given, "error"):
        for_client = client_error(error, ids)
        details["error"] = for_client
    return details or None
