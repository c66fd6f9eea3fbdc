"""What the provider says of an item that it is making, by event type."""

from collections.abc import Callable

from services.upstream.core.items import OutputItem
from services.upstream.core.shape import Json, fields, text, whole

Handler = Callable[[OutputItem, int, Json], bool]


def _part_added(item: OutputItem, index: int, event: Json) -> bool:
    return item.open_part(index, audible=_is_audible(event))


def _part_done(item: OutputItem, index: int, event: Json) -> bool:
    if not item.open_part(index, audible=_is_audible(event)):
        return False
    item.end_part(index)
    return True


def _item_done(item: OutputItem, _: int, event: Json) -> bool:
    final = fields(event, "item")
    complete = text(final, "status") != "incomplete"
    if item.is_call and complete:
        item.end_arguments("" if item.arguments else text(final, "arguments"))
    item.finish("completed" if complete else "incomplete")
    return True


_HANDLERS: dict[str, Handler] = {
    "response.content_part.added": _part_added,
    "response.content_part.done": _part_done,
    "response.output_audio.done": lambda item, index, _: item.open_part(index, audible=True),
    "response.output_audio_transcript.delta": lambda item, index, event: item.say(index, text(event, "delta")),
    "response.output_audio_transcript.done": lambda item, index, event: item.settle_text(
        index, text(event, "transcript"), audible=True
    ),
    "response.output_text.delta": lambda item, index, event: item.write(index, text(event, "delta")),
    "response.output_text.done": lambda item, index, event: item.settle_text(index, text(event, "text"), audible=False),
    "response.function_call_arguments.delta": lambda item, _, event: item.argue(text(event, "delta")),
    "response.function_call_arguments.done": lambda item, _, event: item.end_arguments(text(event, "arguments")),
    "response.output_item.done": _item_done,
}
ITEM_EVENTS = frozenset(_HANDLERS) | {"response.output_item.added", "response.output_audio.delta"}


def carry(item: OutputItem, event: Json) -> bool:
    """Let ``item`` take ``event``, one of `ITEM_EVENTS` but those that need more than the item; False: it cannot."""
    return _HANDLERS[text(event, "type")](item, whole(event, "content_index"), event)


def _is_audible(event: Json) -> bool:
    return text(fields(event, "part"), "type") in ("audio", "output_audio")
