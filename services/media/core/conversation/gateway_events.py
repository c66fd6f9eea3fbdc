"""Builds the client events that media itself sends, as JSON text."""

import json
from collections.abc import Sequence
from typing import Literal

from services.contracts.client_event import RefusedEvent
from services.contracts.endings import EndReason
from services.contracts.ids import ItemId, new_event_id

BufferState = Literal["started", "stopped", "cleared"]


def _event(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, "event_id": new_event_id(), **fields}, separators=(",", ":"))


def output_audio_buffer(state: BufferState, *, response_id: str) -> str:
    """Return `output_audio_buffer.*`: playout of a response started, stopped or was cleared."""
    return _event(f"output_audio_buffer.{state}", response_id=response_id)


def gate_opened(*, at_ms: int, cause: str, barge_in: bool, sent_ms: int, gated_ms: int) -> str:
    """Return the opt-in event for the start of an utterance."""
    return _event(
        "hushgate.gate", state="open", at_ms=at_ms, cause=cause, barge_in=barge_in, sent_ms=sent_ms, gated_ms=gated_ms
    )


def gate_closed(*, at_ms: int, reason: str, sent_ms: int, gated_ms: int) -> str:
    """Return the opt-in event for the end of the caller's turn."""
    return _event("hushgate.gate", state="closed", at_ms=at_ms, reason=reason, sent_ms=sent_ms, gated_ms=gated_ms)


def gate_scores(*, at_ms: int, step_ms: int, scores: Sequence[float]) -> str:
    """Return the opt-in event with the detector's scores, 0 to 1: one for each step of the caller's audio."""
    return _event("hushgate.gate.score", at_ms=at_ms, step_ms=step_ms, scores=[round(score, 2) for score in scores])


def turn_answered(*, item_id: ItemId, latency_ms: int) -> str:
    """Return the opt-in event for the first packet of an answer, ``latency_ms`` after the end of speech."""
    return _event("hushgate.gate", state="answered", latency_ms=latency_ms, item_id=item_id)


def playout_stopped(*, item_id: ItemId, heard_ms: int, stop_ms: int) -> str:
    """Return the opt-in event for an item stopped by a barge-in, ``stop_ms`` after its onset."""
    return _event("hushgate.gate", state="stopped", item_id=item_id, heard_ms=heard_ms, stop_ms=stop_ms)


def answer_held(*, at_ms: int) -> str:
    """Return the opt-in event for an answer that waits because the caller may be speaking."""
    return _event("hushgate.gate", state="held", at_ms=at_ms)


def answer_resumed(*, cause: str, held_ms: int) -> str:
    """Return the opt-in event for an answer that goes on: what was uttered was no speech."""
    return _event("hushgate.gate", state="resumed", cause=cause, held_ms=held_ms)


def ended(reason: EndReason) -> str:
    """Return the opt-in event for the end of the call."""
    return _event("hushgate.ended", reason=reason)


def extra_channel() -> str:
    """Return the error event for a further data channel, which was closed."""
    message = (
        "This call has a data channel already: the first that was opened carries all events, whatever its label. "
        "The further one was closed; send events on the first."
    )
    return _error("extra_data_channel", message)


def refused(event: RefusedEvent) -> str:
    """Return the error event for a message of the client that was refused."""
    return _error(event.code, event.message, param=event.param, client_event_id=event.event_id)


def event_too_large(limit: int) -> str:
    """Return the error event for an event that exceeds the ``limit`` of bytes that the client accepts."""
    return _error("event_too_large", f"An event does not fit into a message of the {limit} bytes that you accept.")


def _error(code: str, message: str, *, param: str | None = None, client_event_id: str | None = None) -> str:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
    return _event("error", error={**error, "event_id": client_event_id})
