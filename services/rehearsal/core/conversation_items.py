"""The conversation's items in order, found by id."""

import base64

from services.rehearsal.core.command_list import CommandList
from services.rehearsal.core.item_wire import CallerAudioIn, CallIn, ImageIn, MessageIn, ModelAudioIn, OutputIn, PartIn
from services.rehearsal.core.items import (
    ConversationItem,
    FunctionCallItem,
    FunctionOutputItem,
    ItemPart,
    MessageItem,
)
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.sound import BYTES_PER_MS, decode, to_ms
from services.rehearsal.core.wire import ItemCreate, ItemTruncate

ROOT = "root"
_PICTURES = frozenset({"data:image/png;base64", "data:image/jpeg;base64"})
_PARTS_OF = {
    "system": {"input_text"},
    "user": {"input_text", "input_audio", "input_image"},
    "assistant": {"output_text", "output_audio"},
}


def _not_found(code: str, item_id: str, param: str) -> EventRefusedError:
    return EventRefusedError(code, f"The item with id '{item_id[:64]}' does not exist.", param)


class ConversationItems:
    """All items of the conversation. Items of an out-of-band response are not added."""

    def __init__(self, conversation_id: str, out: CommandList) -> None:
        self.id = conversation_id
        self.items: list[ConversationItem] = []
        self._out = out

    @property
    def last_id(self) -> str | None:
        """Id of the newest item."""
        return self.items[-1].id if self.items else None

    def find(self, item_id: str, *, code: str, param: str = "item_id") -> ConversationItem:
        """Return the item with this id.

        Raises:
            EventRefusedError: with ``code``, there is none.
        """
        for item in self.items:
            if item.id == item_id:
                return item
        raise _not_found(code, item_id, param)

    def _place(self, previous: str | None) -> int:
        if previous is None:
            return len(self.items)
        if previous == ROOT:
            return 0
        for index, item in enumerate(self.items):
            if item.id == previous:
                return index + 1
        raise _not_found("item_create_invalid_previous_item_id", previous, "previous_item_id")

    def insert(self, item: ConversationItem, previous: str | None = None) -> None:
        """Insert an item and send `conversation.item.added`.

        Raises:
            EventRefusedError: ``previous`` does not exist, or the id is in use.
        """
        if any(known.id == item.id for known in self.items):
            raise EventRefusedError("invalid_value", f"The item id '{item.id}' is already in use.", "item.id")
        place = self._place(previous)
        before = self.items[place - 1].id if place else None
        self.items.insert(place, item)
        self._out.append_event("conversation.item.added", previous_item_id=before, item=item.as_json())

    def finish(self, item: ConversationItem) -> None:
        """Send `conversation.item.done`."""
        place = next((index for index, known in enumerate(self.items) if known is item), 0)
        before = self.items[place - 1].id if place else None
        self._out.append_event("conversation.item.done", previous_item_id=before, item=item.as_json())

    def create(self, event: ItemCreate) -> None:
        """Carry out `conversation.item.create`."""
        item = item_of(event.item, self._out, param="item")
        self.insert(item, event.previous_item_id)
        self.finish(item)

    def retrieve(self, item_id: str) -> None:
        """Carry out `conversation.item.retrieve`."""
        item = self.find(item_id, code="item_retrieve_invalid_item_id")
        self._out.append_event("conversation.item.retrieved", item=item.as_json())

    def delete(self, item_id: str) -> None:
        """Carry out `conversation.item.delete`."""
        self.items.remove(self.find(item_id, code="item_delete_invalid_item_id"))
        self._out.append_event("conversation.item.deleted", item_id=item_id)

    def truncate(self, event: ItemTruncate) -> None:
        """Carry out `conversation.item.truncate`: cut audio and transcript at ``audio_end_ms``.

        Raises:
            EventRefusedError: not a model item with audio, still being generated, or shorter than that.
        """
        part = self._truncatable(event)
        if event.audio_end_ms < 0 or event.audio_end_ms * BYTES_PER_MS > part.audio_bytes:
            raise EventRefusedError(
                "invalid_value",
                f"Audio content of {to_ms(part.audio_bytes)}ms is already shorter than {event.audio_end_ms}ms",
                "audio_end_ms",
            )
        part.cut(event.audio_end_ms * BYTES_PER_MS)
        self._out.append_event(
            "conversation.item.truncated",
            item_id=event.item_id,
            content_index=event.content_index,
            audio_end_ms=event.audio_end_ms,
        )

    def _truncatable(self, event: ItemTruncate) -> ItemPart:
        item = self.find(event.item_id, code="item_truncate_invalid_item_id")
        if not isinstance(item, MessageItem) or item.role != "assistant":
            raise EventRefusedError("invalid_value", "Only model output audio messages can be truncated.", "item_id")
        if not 0 <= event.content_index < len(item.content) or item.content[event.content_index].type != "output_audio":
            raise EventRefusedError("invalid_value", "There is no audio content at this index.", "content_index")
        if item.status == "in_progress":
            raise EventRefusedError(
                "invalid_value", "The item is still being generated: cancel the response.", "item_id"
            )
        return item.content[event.content_index]


def item_of(given: MessageIn | CallIn | OutputIn, out: CommandList, *, param: str) -> ConversationItem:
    """Create an item from a client event; ``param`` is its path there.

    Raises:
        EventRefusedError: a content part is not allowed for the role, or its audio is none.
    """
    item_id = given.id or out.new_id("item")
    match given:
        case CallIn():
            return FunctionCallItem(item_id, given.call_id or out.new_id("call"), given.name, given.arguments)
        case OutputIn():
            return FunctionOutputItem(item_id, given.call_id, given.output)
        case _:
            parts = [_part_of(part, given, f"{param}.content[{index}]") for index, part in enumerate(given.content)]
            return MessageItem(item_id, given.role, parts)


def _part_of(given: PartIn, message: MessageIn, param: str) -> ItemPart:
    if given.type not in _PARTS_OF[message.role]:
        raise EventRefusedError(
            "invalid_value", f"A {message.role} message holds no content of type '{given.type}'.", f"{param}.type"
        )
    match given:
        case CallerAudioIn():
            pcm = decode(given.audio, f"{param}.audio")
            return ItemPart("input_audio", given.transcript, len(pcm))
        case ModelAudioIn():
            pcm = decode(given.audio or "", f"{param}.audio")
            return ItemPart("output_audio", given.transcript, len(pcm))
        case ImageIn():
            _check_picture(given.image_url, f"{param}.image_url")
            return ItemPart("input_image", detail=given.detail)
        case _:
            return ItemPart(given.type, given.text)


def _check_picture(url: str, param: str) -> None:
    """Refuse what holds no picture."""
    head, _, encoded = url.partition(",")
    try:
        picture = base64.b64decode(encoded, validate=True)
    except ValueError:
        picture = b""
    if head not in _PICTURES or not picture:
        sentence = f"Invalid '{param}'. Expected a base64-encoded data URL of a PNG or JPEG."
        raise EventRefusedError("invalid_value", sentence, param)
