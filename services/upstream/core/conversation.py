"""The order of the conversation's items as the client sees it, and what is known of them."""

from collections import OrderedDict

from services.upstream.core.ids import IdMap
from services.upstream.core.shape import Json, fields, objects, text

MAX_ITEMS = 4096
_ENDINGS = ("completed", "cancelled", "incomplete", "failed")
_REASONS = ("turn_detected", "client_cancelled", "max_output_tokens", "content_filter")


class Conversation:
    """Which items the client was told of. Ids are ours."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, int | None] = OrderedDict()  # samples of those that sound
        self._done: set[str] = set()
        self._answers: set[str] = set()

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    @property
    def last(self) -> str | None:
        """The newest item."""
        return next(reversed(self._items), None)

    def claim(self, item_id: str) -> None:
        """The item belongs to a response, which writes its events."""
        self._answers.add(item_id)

    def add(self, item_id: str) -> str | None:
        """The item is at the end of the conversation now; returns the one before it."""
        previous = self.last
        self._items[item_id] = None
        if len(self._items) > MAX_ITEMS:
            self.remove(next(iter(self._items)))
        return previous

    def remove(self, item_id: str) -> None:
        """The item was deleted, or is forgotten."""
        self._items.pop(item_id, None)
        self._done.discard(item_id)
        self._answers.discard(item_id)

    def is_answer(self, item_id: str) -> bool:
        """A response writes the item's events."""
        return item_id in self._answers

    def finish(self, item_id: str) -> bool:
        """The item is complete; False if it was already."""
        if item_id in self._done:
            return False
        self._done.add(item_id)
        return True

    def has_sound(self, item_id: str, samples: int) -> None:
        """So much audio of it was generated."""
        if item_id in self._items:
            self._items[item_id] = samples

    def samples(self, item_id: str) -> int | None:
        """How much audio of it was generated; None: it has none."""
        return self._items.get(item_id)


def shown_item(item: Json, *, item_id: str, ids: IdMap) -> Json:
    """An item of the provider as a client sees it: our ids, no audio, and the keys that strict clients need."""
    shown: Json = {name: value for name, value in item.items() if name not in ("id", "call_id", "approval_request_id")}
    shown |= {"id": item_id, "object": "realtime.item"}
    if call_id := text(item, "call_id"):
        shown["call_id"] = ids.ours("tool_call", call_id)
    if approval := text(item, "approval_request_id"):
        shown["approval_request_id"] = ids.ours("item", approval)
    if "content" in item or item.get("type") == "message":
        shown["content"] = [_shown_content(part) for part in objects(item, "content")]
    return shown


def _shown_content(part: Json) -> Json:
    shown = {name: value for name, value in part.items() if name != "audio"}
    if part.get("type") == "input_audio":
        shown["transcript"] = text(part, "transcript") or None
    return shown


def is_spoken(item: Json) -> bool:
    """Whether it is a caller's utterance."""
    return item.get("role") == "user" and any(part.get("type") == "input_audio" for part in objects(item, "content"))


def shown_error(error: Json, ids: IdMap) -> Json:
    """The error object inside a failed response or transcription."""
    return {
        "type": text(error, "type", "server_error"),
        "code": text(error, "code") or None,
        "message": ids.scrub(text(error, "message", "The provider failed.")),
    }


def status_details(response: Json, ids: IdMap) -> Json | None:
    """Why a response ended as it did, as far as the wire knows such reasons."""
    given = fields(response, "status_details")
    details: Json = {}
    if (kind := text(given, "type")) in _ENDINGS:
        details["type"] = kind
    if (reason := text(given, "reason")) in (
        "turn_detected",
        "client_cancelled",
        "max_output_tokens",
        "content_filter",
    ):
        details["reason"] = reason
    if error := fields(given, "error"):
        shown = shown_error(error, ids)
        details["error"] = shown
    return details or None
