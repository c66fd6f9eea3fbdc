"""Validates the provider's events, and gives events of the beta API their GA names."""

from pydantic import JsonValue

from services.upstream.core.json_shape import Json, is_id, is_too_deep, text, whole

BETA_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}

_MAX_LIMITS = 16
_PART: dict[str, type] = {"response_id": str, "item_id": str}

REQUIRED: dict[str, dict[str, type]] = {
    "session.created": {"session": dict},
    "session.updated": {"session": dict},
    "error": {"error": dict},
    "conversation.item.created": {"item": dict},  # beta: added and done in one
    "conversation.item.added": {"item": dict},
    "conversation.item.done": {"item": dict},
    "conversation.item.retrieved": {"item": dict},
    "conversation.item.deleted": {"item_id": str},
    "conversation.item.truncated": {"item_id": str},
    "conversation.item.input_audio_transcription.delta": {"item_id": str},
    "conversation.item.input_audio_transcription.completed": {"item_id": str, "transcript": str},
    "conversation.item.input_audio_transcription.failed": {"item_id": str, "error": dict},
    "input_audio_buffer.committed": {"item_id": str},
    "input_audio_buffer.cleared": {},
    "response.created": {"response": dict},
    "response.done": {"response": dict},
    "response.output_item.added": {"response_id": str, "item": dict},
    "response.output_item.done": {"response_id": str, "item": dict},
    "response.content_part.added": {**_PART, "part": dict},
    "response.content_part.done": {**_PART, "part": dict},
    "response.output_audio.delta": {**_PART, "delta": str},
    "response.output_audio.done": _PART,
    "response.output_audio_transcript.delta": {**_PART, "delta": str},
    "response.output_audio_transcript.done": {**_PART, "transcript": str},
    "response.output_text.delta": {**_PART, "delta": str},
    "response.output_text.done": {**_PART, "text": str},
    "response.function_call_arguments.delta": {**_PART, "delta": str},
    "response.function_call_arguments.done": {**_PART, "arguments": str},
    "response.mcp_call_arguments.delta": {**_PART, "delta": str},
    "response.mcp_call_arguments.done": {**_PART, "arguments": str},
    "response.mcp_call.in_progress": {"item_id": str},
    "response.mcp_call.completed": {"item_id": str},
    "response.mcp_call.failed": {"item_id": str},
    "mcp_list_tools.in_progress": {"item_id": str},
    "mcp_list_tools.completed": {"item_id": str},
    "mcp_list_tools.failed": {"item_id": str},
    "rate_limits.updated": {"rate_limits": list},
}
"""The required fields of each known event, besides `type`."""

IGNORED = frozenset(
    {
        "input_audio_buffer.speech_started",  # its voice detection is off; turns are ours
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.dtmf_event_received",
        "conversation.item.input_audio_transcription.segment",  # of transcription sessions
        "conversation.created",  # the conversation is ours
        "output_audio_buffer.started",  # playout is ours
        "output_audio_buffer.stopped",
        "output_audio_buffer.cleared",
    }
)


class MalformedEventError(ValueError):
    """What the provider sent is no valid event."""


def checked(event: JsonValue) -> Json:
    """Return the event under its GA name. An event of unknown type passes.

    Raises:
        MalformedEventError: no object, no type, nested too deeply, or a required field is missing or wrong.
    """
    if not isinstance(event, dict) or not isinstance(kind := event.get("type"), str):
        raise MalformedEventError("no event")
    if is_too_deep(event):
        raise MalformedEventError("nested too deeply")
    name = BETA_NAMES.get(kind, kind)
    for field, expected in REQUIRED.get(name, {}).items():
        value = event.get(field)
        if not isinstance(value, expected) or (field.endswith("_id") and not is_id(value)):
            raise MalformedEventError(f"{name} without a {field}")
    for field in ("item", "response"):
        inner = event.get(field)
        if field in REQUIRED.get(name, {}) and not (isinstance(inner, dict) and is_id(inner.get("id"))):
            raise MalformedEventError(f"{name}: its {field} has no id")
    return {**event, "type": name}


def rate_limits(event: Json) -> list[JsonValue]:
    """Return the limits in a `rate_limits.updated` event that the wire knows, with sane numbers."""
    limits = event.get("rate_limits")
    known = [limit for limit in limits if isinstance(limit, dict)] if isinstance(limits, list) else []
    return [
        {
            "name": text(limit, "name"),
            "limit": whole(limit, "limit"),
            "remaining": whole(limit, "remaining"),
            "reset_seconds": _seconds(limit.get("reset_seconds")),
        }
        for limit in known[:_MAX_LIMITS]
        if text(limit, "name") in ("requests", "tokens")
    ]


def _seconds(value: JsonValue) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < float("inf") else 0.0
