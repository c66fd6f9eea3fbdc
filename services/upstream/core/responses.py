"""All responses of a session: at most one is generated at a time, several may still be playing."""

import base64
import binascii
from collections import deque
from dataclasses import dataclass
from typing import Literal

from services.upstream.core.command_buffer import AT_ONCE, AudioPosition, Origin
from services.upstream.core.commands import BookUsage, CountError, ObserveStage
from services.upstream.core.ids import IdMap
from services.upstream.core.item_registry import client_item
from services.upstream.core.json_shape import Json, fields, text, whole
from services.upstream.core.output_item_events import apply_event
from services.upstream.core.response import ProviderResponse, Report, ResponseContext, StopReason
from services.upstream.core.usage import Tally, response_meters

MAX_QUEUED = 8
CREATED_TIMEOUT_S = 15.0
"""When a requested response that the provider has not begun is given up."""
RETRY_S = 0.25
MAX_RETRIES = 8

Asker = Literal["turn", "client"]


@dataclass(slots=True)
class _PendingRequest:
    """A `response.create` that waits, or that the provider has not answered."""

    fields: Json
    asker: Asker
    client_event_id: str | None
    asked_at: float
    hangover_ms: int = 0
    retries: int = 0
    sent_at: float = 0.0
    stop: StopReason | None = None  # why it must be stopped as soon as it begins

    @property
    def out_of_band(self) -> bool:
        """Whether it is outside the conversation, so that speech does not interrupt it."""
        return self.fields.get("conversation") == "none"


class ResponseTracker:
    """Requests responses, one at a time, tracks them and stops them. Call `on_timer` several times a second."""

    def __init__(self, shared: ResponseContext, tally: Tally, *, publishes_turns: bool = False) -> None:
        self._shared = shared
        self._commands = shared.commands
        self._tally = tally
        self._publishes_turns = publishes_turns
        self._live: list[ProviderResponse] = []
        self._queue: deque[_PendingRequest] = deque()
        self._pending: _PendingRequest | None = None
        self._retry_at: float | None = None
        self._first_audio_of: dict[str, _PendingRequest] = {}

    @property
    def generating(self) -> ProviderResponse | None:
        """The response that the provider is generating, or None."""
        return next((response for response in self._live if response.generating), None)

    @property
    def awaits_usage(self) -> bool:
        """Whether the provider has still to report the usage of a response; never, if it bills by duration."""
        if self._shared.capabilities.meter == "duration":
            return False
        return self.generating is not None or self._pending is not None

    @property
    def is_idle(self) -> bool:
        """Whether no response is requested, generated or playing."""
        return not (self._live or self._queue or self._pending)

    def behind(self, item_id: str) -> AudioPosition:
        """Return where further events of an item belong; at once if it is of no response."""
        found = next((i for response in self._live for i in response.items if i.id == item_id), None)
        return found.behind() if found else AT_ONCE

    @property
    def _ids(self) -> IdMap:
        return self._shared.ids

    # --- requests -----------------------------------------------------------------------------------------------

    def request(
        self, parameters: Json, *, asker: Asker, client_event_id: str | None = None, hangover_ms: int = 0, now: float
    ) -> None:
        """Request a response, now or after the one that is being stopped. A client's second one is refused.

        ``hangover_ms``: silence that the gate waited out at the end of the turn.
        """
        active = self.generating
        busy = (active is not None and not active.stopped) or (self._pending is not None and not self._pending.stop)
        new = _PendingRequest(parameters, asker, client_event_id, now, hangover_ms)
        if (busy and asker == "client" and not new.out_of_band) or len(self._queue) >= MAX_QUEUED:
            self._commands.publish_error(
                code="conversation_already_has_active_response",
                message="Conversation already has an active response in progress. Wait until the response is finished"
                " before creating a new one.",
                client_event_id=client_event_id,
            )
            return
        self._queue.append(new)
        self._send_next(now)

    def _send_next(self, now: float) -> None:
        if self._pending is not None or self.generating is not None or self._retry_at is not None or not self._queue:
            return
        pending = self._queue.popleft()
        body: Json = {"response": pending.fields} if pending.fields else {}
        origin = Origin("response.create", by_client=pending.asker == "client", client_event_id=pending.client_event_id)
        if self._commands.send_to_provider("response.create", body, origin=origin):
            pending.sent_at = now
            self._pending = pending

    def request_refused(self, *, is_active: bool, now: float) -> bool:
        """Handle the provider's refusal of the pending request; return whether it will be sent again."""
        pending, self._pending = self._pending, None
        again = pending is not None and is_active and pending.retries < MAX_RETRIES and pending.stop is None
        if again and pending is not None:  # it is still ending one that is unknown here, or was given up
            pending.retries += 1
            self._queue.appendleft(pending)
            self._retry_at = now + RETRY_S
        self._send_next(now)
        return again

    # --- the provider -------------------------------------------------------------------------------------------

    def created(self, event: Json, now: float) -> None:
        """Handle `response.created`."""
        body = fields(event, "response")
        theirs = text(body, "id")
        if self._ids.known("response", theirs) is not None:
            self._commands.count_error(CountError("unexpected", "response.created"))
            return
        response = ProviderResponse(self._shared, body, theirs=theirs)
        self._live.append(response)
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if pending.asker == "turn":
            self._commands.add(ObserveStage("provider_created", now - pending.asked_at))
            self._first_audio_of = {theirs: pending}
        if pending.stop:
            response.stop(pending.stop, now=now)

    def done(self, event: Json, now: float) -> None:
        """Handle `response.done`; its usage is booked even if the response is unknown or was stopped."""
        body = fields(event, "response")
        self._book(body)
        response = self._response(text(body, "id"))
        if response is None or not response.generating:
            self._commands.count_error(CountError("unexpected", "response.done"))
        else:
            response.finish(body)
            self._tally.tool_calls += sum(item.is_call and item.status == "completed" for item in response.items)
            self._remove_finished()
        self._retry_at = None
        self._send_next(now)

    def on_item_event(self, event: Json, now: float) -> None:
        """Handle an event of an item of a response."""
        if event["type"] == "response.output_audio.delta":
            self._audio(event, now)
            return
        response = self._response(text(event, "response_id"))
        if response is None or (not response.stopped and not self._apply_item_event(response, event)):
            self._commands.count_error(CountError("unexpected", text(event, "type")))
        self._remove_finished()

    def _apply_item_event(self, response: ProviderResponse, event: Json) -> bool:
        if event["type"] == "response.output_item.added":
            return response.add_item(fields(event, "item"), whole(event, "output_index"))
        item = response.item(text(fields(event, "item"), "id") or text(event, "item_id"))
        if item is None or item.status != "in_progress":
            return False
        if event["type"] == "response.output_item.done":
            item.replace(client_item(fields(event, "item"), item_id=item.id, ids=self._ids))
        return apply_event(item, event)

    def _audio(self, event: Json, now: float) -> None:
        try:
            pcm = base64.b64decode(text(event, "delta"), validate=True)
        except (binascii.Error, ValueError):
            self._commands.count_error(CountError("malformed", "audio"))
            return
        self._tally.generated_bytes += len(pcm)  # billed even if it is not played
        theirs = text(event, "response_id")
        response = self._response(theirs)
        item = response.item(text(event, "item_id")) if response else None
        if response is None or item is None:
            self._commands.count_error(CountError("unexpected", "audio"))
            return
        if response.stopped or item.audio_ended:
            return
        if (pending := self._first_audio_of.pop(theirs, None)) is not None:
            self._commands.add(ObserveStage("provider_first_audio", now - pending.asked_at))
            if self._publishes_turns:
                self._publish_turn(response.id, item.id, pending, now)
        if item.append_audio(whole(event, "content_index"), pcm):
            self._shared.conversation.set_samples(item.id, item.samples)
        else:
            self._commands.count_error(CountError("unexpected", "audio"))

    def _publish_turn(self, response_id: str, item_id: str, pending: _PendingRequest, now: float) -> None:
        """Publish how much of a turn's latency was the provider's and how much the hangover."""
        figures: Json = {
            "response_id": response_id,
            "item_id": item_id,
            "provider_ms": round((now - pending.asked_at) * 1000),
            "hangover_ms": pending.hangover_ms,
        }
        self._commands.publish_event("hushgate.turn", figures)

    def _book(self, body: Json) -> None:
        self._tally.responses += 1
        if self._shared.capabilities.meter == "duration":  # the tally of audio and session is what it bills
            return
        reading = response_meters(fields(body, "usage"))
        if not reading.sane:
            self._commands.count_error(CountError("usage", "response"))
        if reading.meters:
            self._commands.add(BookUsage(reading.meters, text(body, "id")))

    # --- stopping -----------------------------------------------------------------------------------------------

    def interrupt(self, *, now: float) -> None:
        """Stop the conversation's responses and drop those requested by a turn: the caller speaks."""
        for response in self._live:
            if response.in_conversation:
                response.stop("turn_detected", now=now)
        if self._pending is not None and not self._pending.out_of_band:
            self._pending.stop = self._pending.stop or "turn_detected"
        self._queue = deque(pending for pending in self._queue if pending.asker == "client")
        self._remove_finished()

    def cancel(self, response_id: str | None, *, now: float) -> bool:
        """Cancel one or all responses for the client, also those that only still play; False if there is none."""
        chosen = [r for r in self._live if not r.stopped and response_id in (None, r.id)]
        if not chosen and response_id is None and self._pending is not None and not self._pending.stop:
            self._pending.stop = "client_cancelled"
            return True
        for response in chosen:
            response.stop("client_cancelled", now=now)
        self._remove_finished()
        return bool(chosen)

    def stop_all(self, *, now: float) -> None:
        """Drop all requests and stop what is being generated: the call ends."""
        self._queue.clear()
        if self._pending is not None:
            self._pending.stop = self._pending.stop or "client_cancelled"
        for response in self._live:
            if response.generating:
                response.stop("client_cancelled", now=now)

    def on_playout_report(self, report: Report, *, reason: StopReason, now: float) -> None:
        """Handle media's report how far an item was played."""
        found = [(r, i) for r in self._live for i in r.items if i.id == report.item_id and i.has_playout]
        for response, item in found:
            response.on_playout_report(item, report, reason=reason, now=now)
        self._remove_finished()

    def on_timer(self, *, now: float) -> None:
        """Send what is due as of `now`: retries, and the ends of responses whose provider does not answer."""
        for response in self._live:
            response.on_timer(now=now)
        self._remove_finished()
        if self._pending is not None and now - self._pending.sent_at >= CREATED_TIMEOUT_S:
            self._commands.count_error(CountError("response_timeout", "create"))
            self._pending = None
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        self._send_next(now)

    def _response(self, theirs: str) -> ProviderResponse | None:
        return next((response for response in self._live if response.theirs == theirs), None)

    def _remove_finished(self) -> None:
        for response in self._live:
            if response.is_over:
                response.store_items()
        self._live = [response for response in self._live if not response.is_over]
