"""All responses of a session: at most one is being made at a time, several may still be sounding."""

import base64
import binascii
from collections import deque
from dataclasses import dataclass
from typing import Literal

from services.upstream.core.author import AT_ONCE, Origin
from services.upstream.core.commands import BookUsage, CountError, ObserveStage
from services.upstream.core.conversation import shown_item
from services.upstream.core.ids import IdMap
from services.upstream.core.response import Report, Response, Shared, StopReason
from services.upstream.core.shape import Json, fields, text, whole
from services.upstream.core.stream import carry
from services.upstream.core.usage import Tally, response_meters

MAX_QUEUED = 8
CREATED_TIMEOUT_S = 15.0
"""A response that was asked for and not begun by then never will be."""
RETRY_S = 0.25
MAX_RETRIES = 8

Asker = Literal["turn", "client"]


@dataclass(slots=True)
class _Wanted:
    """A `response.create` that the provider has not answered."""

    fields: Json
    asker: Asker
    client_event_id: str | None
    asked_at: float
    hangover_ms: int = 0
    retries: int = 0
    sent_at: float = 0.0
    stop: StopReason | None = None  # to be stopped as soon as it begins

    @property
    def aside(self) -> bool:
        """It is no part of the conversation, so speaking does not interrupt it."""
        return self.fields.get("conversation") == "none"


class Responses:
    """Asks for responses, follows them and ends them."""

    def __init__(self, shared: Shared, tally: Tally, *, shows_turns: bool = False) -> None:
        self._shared = shared
        self._author = shared.author
        self._tally = tally
        self._shows_turns = shows_turns
        self._live: list[Response] = []
        self._queue: deque[_Wanted] = deque()
        self._wanted: _Wanted | None = None
        self._retry_at: float | None = None
        self._first_audio_of: dict[str, _Wanted] = {}

    @property
    def generating(self) -> Response | None:
        """The one that the provider is making."""
        return next((response for response in self._live if response.generating), None)

    @property
    def owed(self) -> bool:
        """The provider has still to say what a response used."""
        return self.generating is not None or self._wanted is not None

    @property
    def _ids(self) -> IdMap:
        return self._shared.ids

    # --- asking -------------------------------------------------------------------------------------------------

    def ask(
        self, wanted: Json, *, asker: Asker, client_event_id: str | None = None, hangover_ms: int = 0, now: float
    ) -> None:
        """Ask for a response, now or after the one that is being stopped. A client's second one is refused.

        ``hangover_ms``: silence that the gate waited out before a turn.
        """
        active = self.generating
        busy = (active is not None and not active.stopped) or (self._wanted is not None and not self._wanted.stop)
        new = _Wanted(wanted, asker, client_event_id, now, hangover_ms)
        if (busy and asker == "client" and not new.aside) or len(self._queue) >= MAX_QUEUED:
            self._author.error(
                code="conversation_already_has_active_response",
                message="Conversation already has an active response in progress. Wait until the response is finished"
                " before creating a new one.",
                client_event_id=client_event_id,
            )
            return
        self._queue.append(new)
        self._next(now)

    def _next(self, now: float) -> None:
        if self._wanted is not None or self.generating is not None or self._retry_at is not None or not self._queue:
            return
        wanted = self._queue.popleft()
        body: Json = {"response": wanted.fields} if wanted.fields else {}
        origin = Origin("response.create", by_client=wanted.asker == "client", client_event_id=wanted.client_event_id)
        if self._author.send("response.create", body, origin=origin):
            wanted.sent_at = now
            self._wanted = wanted

    def refused(self, *, is_active: bool, now: float) -> bool:
        """The provider did not begin what was asked for; whether it is asked again."""
        wanted, self._wanted = self._wanted, None
        again = wanted is not None and is_active and wanted.retries < MAX_RETRIES and wanted.stop is None
        if again and wanted is not None:  # it still ends one that we don't know of, or had already given up
            wanted.retries += 1
            self._queue.appendleft(wanted)
            self._retry_at = now + RETRY_S
        self._next(now)
        return again

    # --- the provider -------------------------------------------------------------------------------------------

    def created(self, event: Json, now: float) -> None:
        """`response.created`."""
        body = fields(event, "response")
        theirs = text(body, "id")
        if self._ids.known("response", theirs) is not None:
            self._author.count(CountError("unexpected", "response.created"))
            return
        response = Response(self._shared, body, theirs=theirs)
        self._live.append(response)
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        if wanted.asker == "turn":
            self._author.do(ObserveStage("provider_created", now - wanted.asked_at))
            self._first_audio_of = {theirs: wanted}
        if wanted.stop:
            response.stop(wanted.stop, now=now)

    def done(self, event: Json, now: float) -> None:
        """`response.done`: the usage is booked whatever became of it, also when we had not known it."""
        body = fields(event, "response")
        self._book(body)
        response = self._response(text(body, "id"))
        if response is None or not response.generating:
            self._author.count(CountError("unexpected", "response.done"))
        else:
            response.finish(body)
            self._tally.tool_calls += sum(item.is_call and item.status == "completed" for item in response.items)
            self._sweep()
        self._retry_at = None
        self._next(now)

    def item_event(self, event: Json, now: float) -> None:
        """Any event of an item of a response."""
        if event["type"] == "response.output_audio.delta":
            self._audio(event, now)
            return
        response = self._response(text(event, "response_id"))
        if response is None or (not response.stopped and not self._carry(response, event)):
            self._author.count(CountError("unexpected", text(event, "type")))
        self._sweep()

    def _carry(self, response: Response, event: Json) -> bool:
        if event["type"] == "response.output_item.added":
            return response.add_item(fields(event, "item"), whole(event, "output_index"))
        item = response.item(text(fields(event, "item"), "id") or text(event, "item_id"))
        if item is None or item.status != "in_progress":
            return False
        if event["type"] == "response.output_item.done":
            item.replace(shown_item(fields(event, "item"), item_id=item.id, ids=self._ids))
        return carry(item, event)

    def _audio(self, event: Json, now: float) -> None:
        try:
            pcm = base64.b64decode(text(event, "delta"), validate=True)
        except (binascii.Error, ValueError):
            self._author.count(CountError("malformed", "audio"))
            return
        self._tally.generated_bytes += len(pcm)  # it is made and billed, whoever hears it
        theirs = text(event, "response_id")
        response = self._response(theirs)
        item = response.item(text(event, "item_id")) if response else None
        if response is None or item is None:
            self._author.count(CountError("unexpected", "audio"))
            return
        if response.stopped or item.audio_ended:
            return
        if (wanted := self._first_audio_of.pop(theirs, None)) is not None:
            self._author.do(ObserveStage("provider_first_audio", now - wanted.asked_at))
            if self._shows_turns:
                self._show_turn(response.id, item.id, wanted, now)
        if item.speak(whole(event, "content_index"), pcm):
            self._shared.conversation.has_sound(item.id, item.samples)
        else:
            self._author.count(CountError("unexpected", "audio"))

    def _show_turn(self, response_id: str, item_id: str, wanted: _Wanted, now: float) -> None:
        """Tell the client whose share of a turn's latency was how long."""
        figures: Json = {
            "response_id": response_id,
            "item_id": item_id,
            "provider_ms": round((now - wanted.asked_at) * 1000),
            "hangover_ms": wanted.hangover_ms,
        }
        self._author.publish("hushgate.turn", figures, AT_ONCE)

    def _book(self, body: Json) -> None:
        reading = response_meters(fields(body, "usage"))
        if not reading.sane:
            self._author.count(CountError("usage", "response"))
        if reading.meters:
            self._author.do(BookUsage(reading.meters, text(body, "id")))
        self._tally.responses += 1

    # --- stopping -----------------------------------------------------------------------------------------------

    def interrupt(self, *, now: float) -> None:
        """The caller speaks: what is being made, or was asked for at the end of a turn, is void."""
        for response in self._live:
            if response.in_conversation:
                response.stop("turn_detected", now=now)
        if self._wanted is not None and not self._wanted.aside:
            self._wanted.stop = self._wanted.stop or "turn_detected"
        self._queue = deque(wanted for wanted in self._queue if wanted.asker == "client")
        self._sweep()

    def cancel(self, response_id: str | None, *, now: float) -> bool:
        """The client cancels; False if there is nothing to cancel. One that only still sounds is stopped here."""
        chosen = [r for r in self._live if not r.stopped and response_id in (None, r.id)]
        if not chosen and response_id is None and self._wanted is not None and not self._wanted.stop:
            self._wanted.stop = "client_cancelled"
            return True
        for response in chosen:
            response.stop("client_cancelled", now=now)
        self._sweep()
        return bool(chosen)

    def abandon(self, *, now: float) -> None:
        """Nobody listens any more: ask for nothing, and end what is being made."""
        self._queue.clear()
        if self._wanted is not None:
            self._wanted.stop = self._wanted.stop or "client_cancelled"
        for response in self._live:
            if response.generating:
                response.stop("client_cancelled", now=now)

    def reported(self, report: Report, *, reason: StopReason, now: float) -> None:
        """Media says how far an item was played."""
        found = [(r, i) for r in self._live for i in r.items if i.id == report.item_id and i.sounds]
        for response, item in found:
            response.reported(item, report, reason=reason, now=now)
        self._sweep()

    def tick(self, *, now: float) -> None:
        """Time passes."""
        for response in self._live:
            response.tick(now=now)
        self._sweep()
        if self._wanted is not None and now - self._wanted.sent_at >= CREATED_TIMEOUT_S:
            self._author.count(CountError("response_timeout", "create"))
            self._wanted = None
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
        self._next(now)

    def _response(self, theirs: str) -> Response | None:
        return next((response for response in self._live if response.theirs == theirs), None)

    def _sweep(self) -> None:
        if self._author.pop_released_all():
            for response in self._live:
                response.was_shown()
        self._live = [response for response in self._live if not response.is_over]
