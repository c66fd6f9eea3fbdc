"""Items that belong to no response: utterances, items that the client creates, and transcriptions."""

from collections import OrderedDict

from services.upstream.core.command_buffer import AT_ONCE, CommandBuffer
from services.upstream.core.commands import BookUsage, CountError
from services.upstream.core.ids import IdMap
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.item_registry import ItemRegistry, client_error, client_item, is_spoken
from services.upstream.core.json_shape import Json, fields, text, whole
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.usage import transcription_meters

MAX_CREATED = 4096
"""The client's items that the provider has not confirmed: as many as a conversation may have."""
MAX_TRUNCATING = 256
"""The client's truncations that the provider has not confirmed; further ones are refused."""
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
_PASSED_ON = ("logprobs", "languages")
"""What some models say about a transcript, as the session's `include` asks for."""


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
        self._created: OrderedDict[str, str] = OrderedDict()  # the client's, not yet done: our id -> kind
        self._truncating: set[str] = set()  # requested by the client; our own are published when sent

    def create_sent(self, item_id: str, item: Json) -> None:
        """Record that the client's item was sent to the provider."""
        self._created[item_id] = _kind(item)
        if len(self._created) > MAX_CREATED:
            self._created.popitem(last=False)

    def truncate_sent(self, item_id: str) -> None:
        """Record that the client's truncation was sent to the provider."""
        self._truncating.add(item_id)

    @property
    def takes_truncations(self) -> bool:
        """Whether the provider has confirmed enough of them for a further one."""
        return len(self._truncating) < MAX_TRUNCATING

    def create_failed(self, item_id: str) -> None:
        """Remove the client's item: the provider refused it."""
        self._created.pop(item_id, None)

    def added(self, event: Json) -> None:
        """Handle `conversation.item.added`; items of responses are published by their response."""
        item = fields(event, "item")
        ours = self._identify(item)
        if ours is None or ours in self._conversation or self._conversation.is_response_item(ours):
            return
        previous = self._previous(event, self._conversation.add(ours))
        for_client = client_item(item, item_id=ours, ids=self._ids)
        self._commands.publish_event("conversation.item.added", {"item": for_client, "previous_item_id": previous})

    def done(self, event: Json) -> None:
        """Handle `conversation.item.done`."""
        item = fields(event, "item")
        ours = self._ids.known("item", text(item, "id"))
        if ours is None or ours not in self._conversation or self._conversation.is_response_item(ours):
            return
        if self._conversation.finish(ours):
            for_client = client_item(item, item_id=ours, ids=self._ids)
            self._created.pop(ours, None)
            previous = self._previous(event)
            self._commands.publish_event("conversation.item.done", {"item": for_client, "previous_item_id": previous})

    def retrieved(self, event: Json) -> None:
        """Handle `conversation.item.retrieved`; its audio is left out, as it does not fit a data channel."""
        item = fields(event, "item")
        ours = self._ids.known("item", text(item, "id"))
        if ours is None:
            self._commands.count_error(CountError("unexpected", "conversation.item.retrieved"))
            return
        for_client = client_item(item, item_id=ours, ids=self._ids)
        self._commands.publish_event("conversation.item.retrieved", {"item": for_client}, AT_ONCE)

    def deleted(self, event: Json) -> None:
        """Handle `conversation.item.deleted`."""
        ours = self._ids.known("item", text(event, "item_id"))
        if ours is not None:
            self._conversation.remove(ours)
            self._commands.publish_event("conversation.item.deleted", {"item_id": ours}, AT_ONCE)

    def truncated(self, event: Json) -> None:
        """Handle `conversation.item.truncated`; published only if the client asked for it."""
        ours = self._ids.known("item", text(event, "item_id"))
        if ours is not None and ours in self._truncating:
            self._truncating.discard(ours)
            cut: Json = {name: whole(event, name) for name in ("content_index", "audio_end_ms")}
            self._commands.publish_event("conversation.item.truncated", {"item_id": ours, **cut}, AT_ONCE)

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
        self._commands.publish_event(kind, for_client, AT_ONCE)

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

    def _identify(self, item: Json) -> str | None:
        """Return our id for an item that appears in the conversation; None if it belongs to a response."""
        theirs = text(item, "id")
        known = self._ids.known("item", theirs)
        if known is not None:
            return known
        if is_spoken(item):
            self._input_buffer.committed(theirs)
        elif (asked := self._asked_for(item)) is not None:
            self._ids.bind("item", ours=asked, theirs=theirs)  # a provider that ignores the id that we sent
        elif item.get("role") == "assistant" or item.get("type") in ("function_call", "mcp_call"):
            return None
        return self._ids.ours("item", theirs)

    def _asked_for(self, item: Json) -> str | None:
        kind = _kind(item)
        return next((i for i, k in self._created.items() if k == kind and i not in self._conversation), None)

    def _previous(self, event: Json, otherwise: str | None = None) -> str | None:
        return self._ids.known("item", text(event, "previous_item_id")) or otherwise


def _kind(item: Json) -> str:
    return f"{text(item, 'type')}/{text(item, 'role')}"
