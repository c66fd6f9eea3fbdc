"""Items that belong to no response: utterances, items that the client creates, and transcriptions."""

from collections import OrderedDict
from dataclasses import dataclass

from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.commands import BookUsage, CountError
from services.upstream.core.ids import IdMap
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.item_registry import ItemRegistry, client_error, client_item, is_spoken
from services.upstream.core.json_shape import Json, fields, text, whole
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.usage import transcription_meters

MAX_CREATED = 4096
"""The client's items, and deletions, that the provider has not confirmed: as many as a conversation may have."""
MAX_TRUNCATING = 256
"""The client's truncations that the provider has not confirmed; further ones wait."""
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
_PASSED_ON = ("logprobs", "languages")
"""What some models say about a transcript, as the session's `include` asks for."""


@dataclass(frozen=True, slots=True)
class _Creation:
    kind: str
    origin: Origin


class ItemEvents:
    """Publishes to the client what the provider did with the conversation's items."""

    def __init__(
        self,
        commands: CommandBuffer,
        ids: IdMap,
        config: SessionConfigState,
        *,
        conversation: ItemRegistry,
        input_buffer: InputAudioBuffer,
    ) -> None:
        self._commands = commands
        self._config = config
        self._ids = ids
        self._conversation = conversation
        self._input_buffer = input_buffer
        self._created: OrderedDict[str, _Creation] = OrderedDict()  # sent in this session and not yet done, by our id
        self._deleting: set[str] = set()
        self._truncating: list[str] = []  # requested by the client; our own are published when sent

    def create_sent(self, item_id: str, item: Json, *, behind: str | None, origin: Origin) -> None:
        """Record that the client's item was sent to the provider. ``behind``: see `ItemRegistry.reserve`."""
        self._ids.bind("item", ours=item_id, theirs=item_id)
        self._conversation.reserve(item_id, behind=behind)
        self._conversation.store_content(item_id, item)
        self._created[item_id] = _Creation(_kind(item), origin)
        if len(self._created) > MAX_CREATED:
            self._created.popitem(last=False)

    def truncate_sent(self, item_id: str) -> None:
        """Record that the client's truncation was sent to the provider."""
        self._truncating.append(item_id)

    @property
    def takes_truncations(self) -> bool:
        """Whether the provider has confirmed enough of them for a further one."""
        return len(self._truncating) < MAX_TRUNCATING

    def delete_sent(self, item_id: str) -> None:
        """Record that the client's deletion was sent to the provider."""
        if len(self._deleting) < MAX_CREATED:
            self._deleting.add(item_id)

    def is_deleting(self, item_id: str) -> bool:
        """Whether the provider has been asked to delete the item, and has not answered."""
        return item_id in self._deleting

    def delete_absent(self, item_id: str) -> bool:
        """Delete an item that the provider's present session lacks; return False if it may be there."""
        if self._conversation.order.is_absent(item_id):
            self._publish_deleted(item_id)
            return True
        return False

    def delete_failed(self, item_id: str) -> None:
        """Keep the item: the provider refused to delete it."""
        self._deleting.discard(item_id)

    def truncate_failed(self, item_id: str) -> None:
        """Await no confirmation of the client's truncation: the provider refused it."""
        if item_id in self._truncating:
            self._truncating.remove(item_id)

    def create_failed(self, item_id: str) -> None:
        """Remove an item that the provider refused; one that the client has already is only missing at the provider."""
        self._created.pop(item_id, None)
        if self._conversation.is_added(item_id):
            self._conversation.order.lose(item_id)
        else:
            self._conversation.remove(item_id)
            self._ids.forget("item", item_id)

    def begin_new_session(self) -> list[tuple[Json, Origin]]:
        """Return the items that a new session with the provider is to create, in order, and why they are sent.

        What the old session has not confirmed is carried out here (deletions), or is part of them (creations).
        """
        for item_id in sorted(self._deleting):
            self._publish_deleted(item_id)
        self._truncating.clear()
        before, self._created = self._created, OrderedDict()
        items = self._conversation.begin_new_session()
        for item in items:
            item_id = text(item, "id")
            self._ids.bind("item", ours=item_id, theirs=item_id)
            origin = Origin("conversation.item.create", item_id=item_id)
            self._created[item_id] = before.get(item_id, _Creation(_kind(item), origin))
        return [(item, self._created[text(item, "id")].origin) for item in items]

    def added(self, event: Json) -> None:
        """Handle `conversation.item.added`; items of responses are published by their response."""
        item = fields(event, "item")
        previous = self._ids.known("item", text(event, "previous_item_id"))
        ours = self._identify(item, previous)
        if ours is None or not self._confirm(ours, previous):
            return
        for_client = client_item(item, item_id=ours, ids=self._ids)
        previous = self._conversation.add(ours)
        self._commands.publish_event("conversation.item.added", {"item": for_client, "previous_item_id": previous})

    def done(self, event: Json) -> None:
        """Handle `conversation.item.done`."""
        item = fields(event, "item")
        ours = self._ids.known("item", text(item, "id"))
        if ours is None or not self._conversation.is_added(ours) or self._conversation.is_response_item(ours):
            return
        self._created.pop(ours, None)
        if self._conversation.finish(ours):
            for_client = client_item(item, item_id=ours, ids=self._ids)
            previous = self._conversation.order.previous(ours)
            self._commands.publish_event("conversation.item.done", {"item": for_client, "previous_item_id": previous})

    def retrieved(self, event: Json) -> None:
        """Handle `conversation.item.retrieved`; its audio is left out, as it does not fit a data channel."""
        item = fields(event, "item")
        ours = self._ids.known("item", text(item, "id"))
        if ours is None:
            self._commands.count_error(CountError("unexpected", "conversation.item.retrieved"))
            return
        for_client = client_item(item, item_id=ours, ids=self._ids)
        self._commands.publish_event("conversation.item.retrieved", {"item": for_client})

    def deleted(self, event: Json) -> None:
        """Handle `conversation.item.deleted`."""
        ours = self._ids.known("item", text(event, "item_id"))
        if ours is not None:
            self._publish_deleted(ours)

    def truncated(self, event: Json) -> None:
        """Handle `conversation.item.truncated`; published only if the client asked for it."""
        ours = self._ids.known("item", text(event, "item_id"))
        if ours is not None and ours in self._truncating:
            self._truncating.remove(ours)
            cut: Json = {name: whole(event, name) for name in ("content_index", "audio_end_ms")}
            self._commands.publish_event("conversation.item.truncated", {"item_id": ours, **cut})

    def transcription(self, event: Json) -> None:
        """Handle an event of an utterance's transcription: book its usage and publish it at once."""
        kind, theirs = text(event, "type"), text(event, "item_id")
        if kind == f"{_TRANSCRIPTION}completed":
            self._book(theirs, fields(event, "usage"))
        ours = self._ids.known("item", theirs)
        if ours is None:
            self._commands.count_error(CountError("unexpected", kind))
            return
        if kind != f"{_TRANSCRIPTION}delta":
            self._input_buffer.transcribed(ours)
        for_client: Json = {"item_id": ours, "content_index": whole(event, "content_index")}
        for_client |= {name: event[name] for name in _PASSED_ON if name in event}
        match kind.removeprefix(_TRANSCRIPTION):
            case "delta":
                for_client["delta"] = text(event, "delta")
            case "completed":
                for_client["transcript"] = text(event, "transcript")
                self._store_transcript(ours, text(event, "transcript"))
                duration: Json = {"type": "duration", "seconds": self._input_buffer.duration_s(ours)}
                for_client["usage"] = fields(event, "usage") or duration
            case _:
                for_client["error"] = client_error(fields(event, "error"), self._ids)
        self._commands.publish_event(kind, for_client)

    def _store_transcript(self, item_id: str, transcript: str) -> None:
        content: Json = {"type": "input_text", "text": transcript}
        item: Json = {"type": "message", "id": item_id, "role": "user", "content": [content]}
        self._conversation.store_content(item_id, item)

    def _book(self, theirs: str, usage: Json) -> None:
        reading = transcription_meters(usage)
        if not reading.sane:
            self._commands.count_error(CountError("usage", "transcription"))
        if reading.meters:
            self._commands.add(BookUsage(reading.meters, theirs, self._config.transcription_model))

    def _identify(self, item: Json, previous: str | None) -> str | None:
        """Return our id for an item that appears behind ``previous``; None if it belongs to a response."""
        theirs = text(item, "id")
        known = self._ids.known("item", theirs)
        if known is not None:
            return known
        if is_spoken(item) and self._input_buffer.committed(theirs, previous=previous):
            pass
        elif (asked := self._asked_for(item)) is not None:
            self._ids.bind("item", ours=asked, theirs=theirs)  # a provider that ignores the id that we sent
        elif item.get("role") == "assistant" or item.get("type") in ("function_call", "mcp_call"):
            return None
        return self._ids.ours("item", theirs)

    def _asked_for(self, item: Json) -> str | None:
        kind = _kind(item)
        sent = (ours for ours, created in self._created.items() if created.kind == kind)
        return next((ours for ours in sent if self._conversation.order.is_requested(ours)), None)

    def _confirm(self, ours: str, previous: str | None) -> bool:
        """Record that the provider has an item, and behind which; return whether the client is to get `added`."""
        conversation = self._conversation
        of_response = conversation.is_response_item(ours)
        if not of_response:
            conversation.append(ours)
        conversation.order.confirm(ours, previous=previous)
        return not of_response and not conversation.is_added(ours)

    def _publish_deleted(self, item_id: str) -> None:
        self._deleting.discard(item_id)
        self._conversation.remove(item_id)
        self._commands.publish_event("conversation.item.deleted", {"item_id": item_id})


def _kind(item: Json) -> str:
    return f"{text(item, 'type')}/{text(item, 'role')}"
