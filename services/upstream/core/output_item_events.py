"""Applies the provider's events of an item to that item, by event type."""

from collections.abc import Callable

from services.upstream.core.items import OutputItem
from services.upstream.core.json_shape import Json, fields, text, whole

Handler = Callable[[OutputItem, int, Json], bool]


def _part_added(item: OutputItem, index: int, event: Json) -> bool:
    return item.add_part(index, audible=_is_audible(event))


def _part_done(item: OutputItem, index: int, event: Json) -> bool:
    if not item.add_part(index, audible=_is_audible(event)):
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
    "response.output_audio.done": lambda item, index, _: item.add_part(index, audible=True),
    "response.output_audio_transcript.delta": lambda item, index, event: item.append_transcript(
        index, text(event, "delta")
    ),
    "response.output_audio_transcript.done": lambda item, index, event: item.set_final_text(
        index, text(event, "transcript"), audible=True
    ),
    "response.output_text.delta": lambda item, index, event: item.append_text(index, text(event, "delta")),
    "response.output_text.done": lambda item, index, event: item.set_final_text(
        index, text(event, "text"), audible=False
    ),
    "response.function_call_arguments.delta": lambda item, _, event: item.append_arguments(text(event, "delta")),
    "response.function_call_arguments.done": lambda item, _, event: item.end_arguments(text(event, "arguments")),
    "response.output_item.done": _item_done,
}
ITEM_EVENTS = frozenset(_HANDLERS) | {"response.output_item.added", "response.output_audio.delta"}


def apply_event(item: OutputItem, event: Json) -> bool:
    """Apply ``event`` to ``item``; False if it does not fit. Not for `output_item.added` and audio deltas."""
    return _HANDLERS[text(event, "type")](item, whole(event, "content_index"), event)


def _is_audible(event: Json) -> bool:
    return text(fields(event, "part"), "type") in ("audio", "output_audio")
