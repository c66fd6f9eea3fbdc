"""Items that are no part of a response: utterances, what the client writes into the conversation, transcriptions."""

from collections import OrderedDict

from services.upstream.core.author import AT_ONCE, NOWHERE, Author, Place
from services.upstream.core.commands import BookUsage, CountError
from services.upstream.core.config import SessionConfigState
from services.upstream.core.conversation import Conversation, is_spoken, shown_error, shown_item
from services.upstream.core.ids import IdMap
from services.upstream.core.shape import Json, fields, text, whole
from services.upstream.core.speech import Speech
from services.upstream.core.usage import transcription_meters

MAX_PENDING = 256
_TRANSCRIPTION = "conversation.item.input_audio_transcription."


class History:
    """Tells the client what the provider did with the conversation's items."""

    def __init__(
        self, author: Author, ids: IdMap, config: SessionConfigState, *, conversation: Conversation, speech: Speech
    ) -> None:
        self._author = author
        self._config = config
        self._ids = ids
        self._conversation = conversation
        self._speech = speech
        self._created: OrderedDict[str, str] = OrderedDict()  # the client's, not yet done: our id -> kind
        self._truncating: set[str] = set()  # by the client's wish; our own were shown when they were made

    def create(self, item_id: str, item: Json) -> None:
        """The client's item was sent to the provider."""
        self._created[item_id] = _kind(item)
        if len(self._created) > MAX_PENDING:
            self._created.popitem(last=False)

    def truncate(self, item_id: str) -> None:
        """The client's truncation was sent to the provider."""
        if len(self._truncating) < MAX_PENDING:
            self._truncating.add(item_id)

    def create_failed(self, item_id: str) -> None:
        """The provider refused the client's item."""
        self._created.pop(item_id, None)

    def added(self, event: Json) -> None:
        """`conversation.item.added`; items of responses were shown when the response began them."""
        item = fields(event, "item")
        ours = self._identify(item)
        if ours is None or ours in self._conversation or self._conversation.is_answer(ours):
            return
        previous = self._previous(event, self._conversation.add(ours))
        shown = shown_item(item, item_id=ours, ids=self._ids)
        place = self._place(ours)
        self._author.publish("conversation.item.added", {"item": shown, "previous_item_id": previous}, place)

    def done(self, event: Json) -> None:
        """`conversation.item.done`."""
        item = fields(event, "item")
        ours = self._ids.known("item", text(item, "id"))
        if ours is None or ours not in self._conversation or self._conversation.is_answer(ours):
            return
        if self._conversation.finish(ours):
            shown = shown_item(item, item_id=ours, ids=self._ids)
            place = self._place(ours)
            self._created.pop(ours, None)
            previous = self._previous(event)
            self._author.publish("conversation.item.done", {"item": shown, "previous_item_id": previous}, place)

    def retrieved(self, event: Json) -> None:
        """`conversation.item.retrieved`, without its audio: a data channel could not carry it."""
        item = fields(event, "item")
        ours = self._ids.known("item", text(item, "id"))
        if ours is None:
            self._author.count(CountError("unexpected", "conversation.item.retrieved"))
            return
        shown = shown_item(item, item_id=ours, ids=self._ids)
        self._author.publish("conversation.item.retrieved", {"item": shown}, AT_ONCE)

    def deleted(self, event: Json) -> None:
        """`conversation.item.deleted`."""
        ours = self._ids.known("item", text(event, "item_id"))
        if ours is not None:
            self._conversation.remove(ours)
            self._author.publish("conversation.item.deleted", {"item_id": ours}, AT_ONCE)

    def truncated(self, event: Json) -> None:
        """`conversation.item.truncated`, if the client asked for it."""
        ours = self._ids.known("item", text(event, "item_id"))
        if ours is not None and ours in self._truncating:
            self._truncating.discard(ours)
            cut: Json = {name: whole(event, name) for name in ("content_index", "audio_end_ms")}
            self._author.publish("conversation.item.truncated", {"item_id": ours, **cut}, AT_ONCE)

    def transcription(self, event: Json) -> None:
        """What a transcription model made of an utterance. It comes late, and waits for no sound."""
        kind, theirs = text(event, "type"), text(event, "item_id")
        if kind == f"{_TRANSCRIPTION}completed":
            self._book(theirs, fields(event, "usage"))
        ours = self._ids.known("item", theirs)
        if ours is None:
            self._author.count(CountError("unexpected", kind))
            return
        if kind != f"{_TRANSCRIPTION}delta":
            self._speech.transcribed(ours)
        shown: Json = {"item_id": ours, "content_index": whole(event, "content_index")}
        match kind.removeprefix(_TRANSCRIPTION):
            case "delta":
                shown["delta"] = text(event, "delta")
            case "completed":
                shown["transcript"] = text(event, "transcript")
                duration: Json = {"type": "duration", "seconds": self._speech.duration_s(ours)}
                shown["usage"] = fields(event, "usage") or duration
            case _:
                shown["error"] = shown_error(fields(event, "error"), self._ids)
        self._author.publish(kind, shown, AT_ONCE)

    def _book(self, theirs: str, usage: Json) -> None:
        reading = transcription_meters(usage)
        if not reading.sane:
            self._author.count(CountError("usage", "transcription"))
        if reading.meters:
            self._author.do(BookUsage(reading.meters, theirs, self._config.transcription_model))

    def _identify(self, item: Json) -> str | None:
        """Our id for an item that appears in the conversation; None if it belongs to a response."""
        theirs = text(item, "id")
        known = self._ids.known("item", theirs)
        if known is not None:
            return known
        if is_spoken(item):
            self._speech.committed(theirs)
        elif (asked := self._asked_for(item)) is not None:
            self._ids.bind("item", ours=asked, theirs=theirs)  # a provider that makes ids of its own
        elif item.get("role") == "assistant" or item.get("type") in ("function_call", "mcp_call"):
            return None
        return self._ids.ours("item", theirs)

    def _asked_for(self, item: Json) -> str | None:
        kind = _kind(item)
        return next((i for i, k in self._created.items() if k == kind and i not in self._conversation), None)

    def _place(self, item_id: str) -> Place:
        """A client that asked for an item waits for its answer, not for the sound before it."""
        return AT_ONCE if item_id in self._created else NOWHERE

    def _previous(self, event: Json, otherwise: str | None = None) -> str | None:
        return self._ids.known("item", text(event, "previous_item_id")) or otherwise


def _kind(item: Json) -> str:
    return f"{text(item, 'type')}/{text(item, 'role')}"
