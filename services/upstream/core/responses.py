"""All responses of a session: which are requested, generated and still playing.

Of the conversation, at most one is requested or generated: the client's second one is refused, a turn's waits. One that
only still plays, or is being stopped, does not count.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import partial

from services.upstream.core.call_rates import CallRates, RateRefusal
from services.upstream.core.command_buffer import AT_ONCE, AudioPosition, Origin
from services.upstream.core.commands import BookUsage, CountError
from services.upstream.core.eager_waste import EagerWaste
from services.upstream.core.ids import IdMap
from services.upstream.core.item_registry import client_item
from services.upstream.core.json_shape import Json, fields, text, whole
from services.upstream.core.output_item_events import apply_event
from services.upstream.core.response import (
    ProviderResponse,
    Report,
    ResponseContext,
    StopReason,
    publish_cancelled,
)
from services.upstream.core.response_requests import Asker, ResponseRequest, ResponseRequests
from services.upstream.core.turn_latency import TurnLatency
from services.upstream.core.usage import Tally, input_tokens, response_cost, response_meters


@dataclass(frozen=True, slots=True)
class AheadRequest:
    """A `response.create` that was sent before the end of the turn that it answers."""

    origin: Origin
    sent_at: float


class ResponseTracker:
    """Requests responses, one at a time, tracks them and stops them. Call `on_timer` several times a second."""

    def __init__(
        self,
        shared: ResponseContext,
        tally: Tally,
        rates: CallRates,
        *,
        waste: EagerWaste,
        publishes_turns: bool = False,
    ) -> None:
        self._waste = waste
        self._shared = shared
        self._rates = rates
        self._commands = shared.commands
        self._tally = tally
        self._live: list[ProviderResponse] = []
        self._requests = ResponseRequests()
        self._latency = TurnLatency(shared.commands, publishes=publishes_turns)
        self.is_held_back = False
        """Whether all requests wait until `release`."""

    @property
    def _generating(self) -> list[ProviderResponse]:
        """The responses that the provider is generating."""
        return [response for response in self._live if response.generating]

    @property
    def awaits_usage(self) -> bool:
        """Whether the provider has still to report the usage of a response; never, if it bills by duration."""
        if self._shared.capabilities.meter == "duration":
            return False
        return bool(self._generating or self._requests.sent)

    @property
    def is_idle(self) -> bool:
        """Whether no response is requested, generated or playing, and none is held back."""
        return not self._live and self._requests.is_empty and not self.is_held_back

    @property
    def is_free(self) -> bool:
        """Whether a response would be generated at once: none is requested or generated."""
        return not self._generating and self._requests.is_empty and not self.is_held_back

    def behind(self, item_id: str) -> AudioPosition:
        """Return where further events of an item belong; at once if it is of no response."""
        found = next((i for response in self._live for i in response.items if i.id == item_id), None)
        return found.behind() if found else AT_ONCE

    @property
    def _ids(self) -> IdMap:
        return self._shared.ids

    # --- requests -----------------------------------------------------------------------------------------------

    def request(
        self,
        parameters: Json,
        *,
        asker: Asker,
        client_event_id: str | None = None,
        hangover_ms: int = 0,
        is_text: bool = False,
        now: float,
    ) -> None:
        """Request a response, now or as soon as the provider has ended the one before. A client's may be refused.

        ``hangover_ms``: silence that the gate waited out at the end of the turn. ``is_text``: it has no sound.
        """
        new = ResponseRequest(
            fields=parameters, asker=asker, client_event_id=client_event_id, asked_at=now, hangover_ms=hangover_ms
        )
        new.beside = is_text and new.out_of_band and self._shared.capabilities.beside
        if asker == "client" and not new.out_of_band and self._conversation_is_busy:
            self._commands.publish_error(
                code="conversation_already_has_active_response",
                message="Conversation already has an active response in progress. Wait until the response is finished"
                " before creating a new one.",
                client_event_id=client_event_id,
            )
        elif not self._requests.add(new):
            self._commands.count_error(CountError("backlog", "response"))
            self._refuse(new, "Too many responses outside the conversation wait. Wait until one of them is done.")
        self._send_next(now)

    def request_cancelled(self, parameters: Json, *, now: float) -> None:
        """Publish the response that the client has requested and cancelled meanwhile, behind those before it."""
        new = ResponseRequest(fields=parameters, asker="client", client_event_id=None, asked_at=now)
        new.stop = "client_cancelled"
        self._requests.add(new)
        self._publish_cancelled_requests()

    @property
    def takes_requests(self) -> bool:
        """Whether the client may request a response: few cancelled ones wait for those before them."""
        return self._requests.takes_cancelled

    @property
    def _conversation_is_busy(self) -> bool:
        active = [response for response in self._generating if response.in_conversation and not response.stopped]
        return self._requests.has_active or bool(active)

    def _refuse(self, request: ResponseRequest, message: str) -> None:
        self._commands.publish_error(
            code="rate_limit_exceeded", message=message, client_event_id=request.client_event_id
        )

    def _send_next(self, now: float) -> None:
        self._publish_cancelled_requests()
        while (request := self._next_request(now)) is not None:
            if request.admission == "not_asked":
                request.admission = "asked"
                answered = partial(self._rate_answered, request)
                self._rates.take({"input_tokens": 0, "responses": 1}, answered, now=now)
                continue
            if request.admission == "asked":  # those behind it do not overtake
                return
            self._requests.remove(request)
            body: Json = {"response": request.fields} if request.fields else {}
            by_client = request.asker == "client"
            origin = Origin("response.create", by_client=by_client, client_event_id=request.client_event_id)
            if self._commands.send_to_provider("response.create", body, origin=origin):
                request.origin, request.sent_at = origin, now
                request.sent_behind = self._shared.conversation.order.requests
                self._requests.sent.append(request)
            else:
                self._refuse(request, "Too much waits for the connection to the provider.")

    def requested_ahead(self, request: AheadRequest, *, hangover_ms: int, now: float) -> None:
        """Record that the answer to a turn was requested before the turn's end, and that it is wanted."""
        new = ResponseRequest(fields={}, asker="turn", client_event_id=None, asked_at=now, hangover_ms=hangover_ms)
        new.origin, new.sent_at, new.admission = request.origin, request.sent_at, "granted"
        new.sent_behind = self._shared.conversation.order.requests
        self._requests.sent.append(new)

    def hold_back(self) -> None:
        """Let all requests wait until `release`."""
        self.is_held_back = True

    def release(self, *, now: float) -> None:
        """Request what `hold_back` let wait."""
        self.is_held_back = False
        self._send_next(now)

    def _next_request(self, now: float) -> ResponseRequest | None:
        if self.is_held_back:
            return None
        beside = sum(response.beside for response in self._generating)
        return self._requests.next(is_free=beside == len(self._generating), beside=beside, now=now)

    def _rate_answered(self, request: ResponseRequest, refusal: RateRefusal | None, now: float) -> None:
        if refusal is None:
            request.admission = "granted"
            if request.stop or not self._requests.waits(request):
                self._rates.book({"responses": -1}, now=now)
        elif not request.stop and self._requests.remove(request):
            self._rates.publish_refusal(refusal, request.client_event_id)

    def send_waiting(self, *, now: float) -> None:
        """Request what waits, as far as it may be: the rates have answered."""
        self._send_next(now)

    def request_refused(self, origin: Origin | None, *, is_active: bool, now: float) -> bool:
        """Handle the provider's refusal of what was sent for ``origin``; return whether the client need not get it.

        ``is_active``: because it is generating a response, one that is unknown here or was given up.
        """
        refused = self._requests.pop_refused(origin)
        is_answered = False
        if refused is not None and is_active:
            if refused.stop:
                self._publish_unbegun(refused, refused.stop)
            is_answered = bool(refused.stop) or self._requests.retry(refused, now=now)
        self._send_next(now)
        return is_answered

    def _publish_unbegun(self, request: ResponseRequest, reason: StopReason) -> None:
        """Publish the end of a request that was cancelled before the provider began it, unless nobody waits for it."""
        if request.asker == "client" or reason == "client_cancelled":
            publish_cancelled(self._shared, request.fields, reason)

    # --- the provider -------------------------------------------------------------------------------------------

    def created(self, event: Json, now: float) -> None:
        """Handle `response.created`."""
        body = fields(event, "response")
        theirs = text(body, "id")
        if self._ids.known("response", theirs) is not None:
            self._commands.count_error(CountError("unexpected", "response.created"))
            return
        stated = body["conversation_id"] is not None if "conversation_id" in body else None
        pending = self._requests.pop_begun(in_conversation=stated)
        response = ProviderResponse(
            self._shared,
            body,
            theirs=theirs,
            in_conversation=stated is not False if pending is None else not pending.out_of_band,
            beside=pending is not None and pending.beside,
            as_of=None if pending is None else pending.sent_behind,
        )
        self._live.append(response)
        if pending is None:
            return
        self._latency.begun(theirs, pending, now=now)
        if pending.stop:
            response.stop(pending.stop, now=now)
        self._send_next(now)

    def done(self, event: Json, now: float) -> None:
        """Handle `response.done`; its usage is booked even if the response is unknown or was stopped."""
        body = fields(event, "response")
        response = self._response(text(body, "id"))
        self._book(body, response, now)
        if response is None or not response.generating:
            self._commands.count_error(CountError("unexpected", "response.done"))
        else:
            response.finish(body)
            self._tally.tool_calls += sum(item.is_call and item.status == "completed" for item in response.items)
            self._remove_finished()
        self._requests.retry_now()
        self._send_next(now)

    def on_item_event(self, event: Json, now: float) -> None:
        """Handle an event of an item of a response."""
        if event["type"] == "response.output_audio.delta":
            self._audio(event, now)
            return
        response = self._response(text(event, "response_id"))
        if response is not None and response.stopped:
            if event["type"] == "response.output_item.added":
                response.hide_item(fields(event, "item"))
        elif response is None or not self._apply_item_event(response, event):
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
        self._latency.audio_received(theirs, response_id=response.id, item_id=item.id, now=now)
        if item.append_audio(whole(event, "content_index"), pcm):
            self._shared.conversation.set_samples(item.id, item.samples)
        else:
            self._commands.count_error(CountError("unexpected", "audio"))

    def _book(self, body: Json, response: ProviderResponse | None, now: float) -> None:
        self._tally.responses += 1
        is_by_tokens = self._shared.capabilities.meter == "tokens"
        generated_ms = sum(item.generated_ms for item in response.items) if response else 0
        self._waste.record(response_cost(fields(body, "usage")) if is_by_tokens else generated_ms, taken_back=False)
        if tokens := input_tokens(fields(body, "usage")):
            self._rates.book({"input_tokens": tokens}, now=now)
        if not is_by_tokens:  # the tally of audio and session is what it bills
            return
        reading = response_meters(fields(body, "usage"))
        if not reading.sane:
            self._commands.count_error(CountError("usage", "response"))
        if reading.meters:
            self._commands.add(BookUsage(reading.meters, text(body, "id")))

    # --- stopping -----------------------------------------------------------------------------------------------

    def interrupt(self, *, now: float) -> None:
        """Stop the conversation's responses and drop those requested: the caller speaks."""
        self._stop([response for response in self._live if response.in_conversation], "turn_detected", now=now)
        self._stop_requests("turn_detected")

    def cancel(self, response_id: str | None, *, now: float) -> bool:
        """Cancel one response for the client, or all of the conversation, also those that only still play.

        False if there is none.
        """
        live = [response for response in self._live if not response.stopped]
        if response_id is not None:
            chosen = [response for response in live if response.id == response_id]
        else:
            chosen = [response for response in live if response.in_conversation]
        self._stop(chosen, "client_cancelled", now=now)
        return (response_id is None and self._stop_requests("client_cancelled")) or bool(chosen)

    def _stop(self, responses: list[ProviderResponse], reason: StopReason, *, now: float) -> None:
        for response in responses:
            response.stop(reason, now=now)
        self._remove_finished()

    def _stop_requests(self, reason: StopReason) -> bool:
        """Stop the requested responses of the conversation; False if there are none."""
        is_any = self._requests.stop_conversation(reason)
        self._publish_cancelled_requests()
        return is_any

    def _publish_cancelled_requests(self) -> None:
        """Publish the ends of cancelled requests that wait, once those of the cancelled ones before them are."""
        while not any(response.in_conversation and response.is_ending for response in self._live):
            request = self._requests.pop_cancelled()
            if request is None or request.stop is None:
                return
            self._publish_unbegun(request, request.stop)

    def stop_all(self, *, now: float) -> None:
        """Drop all requests and stop what is being generated: the call ends."""
        self._requests.clear()
        for request in self._requests.sent:
            request.stop = request.stop or "client_cancelled"
        self._stop(self._generating, "client_cancelled", now=now)

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
        while (expired := self._requests.pop_expired(now=now)) is not None:
            self._commands.count_error(CountError("response_timeout", "create"))
            if expired.stop:
                self._publish_unbegun(expired, expired.stop)
            else:
                self._commands.publish_error(
                    kind="server_error",
                    code="response_timeout",
                    message="The provider has not begun the response in time.",
                    client_event_id=expired.client_event_id,
                )
        self._send_next(now)

    def _response(self, theirs: str) -> ProviderResponse | None:
        return next((response for response in self._live if response.theirs == theirs), None)

    def _remove_finished(self) -> None:
        for response in self._live:
            if response.is_over:
                response.store_items()
        self._live = [response for response in self._live if not response.is_over]
        self._publish_cancelled_requests()
