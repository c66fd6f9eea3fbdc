"""Track media processes and their calls by heartbeat; send an offer to one after the other until one answers."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.contracts import ids, messages, subjects
from services.contracts.connect import LegAnswer, LegOffer
from services.contracts.grant import Grant
from services.contracts.ids import CallId, InvalidIdError, ProcessId
from services.contracts.messages import (
    Hangup,
    Heartbeat,
    MalformedMessageError,
    Offer,
    OfferAnswered,
    OfferRefused,
)
from services.contracts.turn_detection import TurnTerms
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.errors import HushgateError, NoRespondersError, RequestTimeoutError
from services.runtime.telemetry import tracing
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.core.live_calls import LiveCalls
from services.signaling.core.placement import MAX_ATTEMPTS, NoPlacement, Placement

OFFER_TIMEOUT_S = 2.0
FIRST_HEARTBEAT_S = 1.5  # processes send one a second


Before = Callable[[ProcessId], Awaitable[None]]
"""Awaited before the offer is sent to a process."""


class NotPlacedError(HushgateError):
    """No process answered the offer. ``reason`` is a key of `errors.PLACEMENT`, or `bad_offer`."""

    retryable = True

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"not placed: {reason}")
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class MediaDirectory:
    """Shell of `Placement` and `LiveCalls`: subscribes to heartbeats, sends offers."""

    bus: Bus
    placement: Placement = field(default_factory=Placement)
    live_calls: LiveCalls = field(default_factory=LiveCalls)
    offer_timeout_s: float = OFFER_TIMEOUT_S
    _random: random.Random = field(default_factory=random.Random)  # chooses a process, protects nothing

    _first_heartbeat: asyncio.Event = field(default_factory=asyncio.Event)

    async def subscribe_heartbeats(self) -> None:
        """Subscribe to heartbeats and return after the first one, or after `FIRST_HEARTBEAT_S`.

        So a signaling process that has just become ready does not refuse calls for lack of known media processes.
        """
        await self.bus.subscribe(subjects.HEARTBEATS, self.on_heartbeat)
        try:
            async with asyncio.timeout(FIRST_HEARTBEAT_S):
                await self._first_heartbeat.wait()
        except TimeoutError:
            get_logger().warning("no_media_heartbeat")
        metrics.MEDIA_PROCESSES.set_function(lambda: self.placement.fresh_processes(now=clock.monotonic()))

    def on_heartbeat(self, subject: str, data: bytes) -> None:
        """Record a heartbeat; count one that is malformed or names another process than its subject."""
        try:
            heartbeat = messages.expect(Heartbeat, data)
            if ids.process_id(heartbeat.process) != subjects.process_of(subject):
                raise MalformedMessageError("it speaks for another process")  # noqa: TRY301 - as above
        except (MalformedMessageError, InvalidIdError) as exc:
            metrics.HEARTBEATS_MALFORMED.inc()
            get_logger().warning("heartbeat_malformed", error=str(exc))
            return
        now = clock.monotonic()
        self.live_calls.on_heartbeat(heartbeat, now=now)
        if self.placement.on_heartbeat(heartbeat, now=now):
            get_logger().info(
                "media_process_heard",
                media=heartbeat.process,
                version=heartbeat.version,
                zone=heartbeat.zone,
                http_url=heartbeat.http_url,
            )
        self._first_heartbeat.set()

    @property
    def turn_terms(self) -> TurnTerms | None:
        """What media lets a session set of turn detection; None: it is not known."""
        return self.placement.turn_terms(now=clock.monotonic())

    async def place(
        self, call: CallId, connect: LegOffer, grant: Grant, *, before: Before
    ) -> tuple[ProcessId, LegAnswer]:
        """Return the process that accepted the call and its answer; tries up to three, awaiting ``before`` for each.

        Raises:
            NotPlacedError: none accepted it.
        """
        reason, detail = "", ""
        silent: list[ProcessId] = []
        tried: set[ProcessId] = set()
        leg = ids.new_leg_id()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            chosen = self.placement.choose(self._random, tried=tried, now=clock.monotonic())
            if isinstance(chosen, NoPlacement):
                reason = reason or str(chosen)
                break
            tried.add(chosen)
            await before(chosen)
            offer = Offer(call=call, leg=leg, attempt=attempt, connect=connect, grant=grant)
            outcome = await self._ask(chosen, offer)
            if isinstance(outcome, OfferAnswered):
                now = clock.monotonic()
                self.live_calls.answered(grant.tenant, call, chosen, outcome.number, now=now)
                return chosen, outcome.connect
            reason, detail = outcome
            if reason == "timeout":
                silent.append(chosen)
            if reason == "bad_offer":
                break
        for process in silent:
            await self.cancel_offer(process, call)
        metrics.PLACEMENTS_FAILED.labels(reason).inc()
        raise NotPlacedError(reason, detail)

    async def _ask(self, process: ProcessId, offer: Offer) -> OfferAnswered | tuple[str, str]:
        span = tracing.start_child("offer", kind="client")
        span.set_attributes(process=process, attempt=offer.attempt)
        with span.current():
            reply = await self._answer(process, offer)
        outcome = "answered" if isinstance(reply, OfferAnswered) else reply[0]
        span.set_attributes(outcome=outcome)
        span.end(error="" if outcome == "answered" else outcome)
        metrics.PLACEMENT_ATTEMPTS.labels(outcome).inc()
        if not isinstance(reply, OfferAnswered):
            get_logger().warning(
                "offer_not_answered", media=process, call_id=offer.call, attempt=offer.attempt, reason=outcome
            )
        return reply

    async def _answer(self, process: ProcessId, offer: Offer) -> OfferAnswered | tuple[str, str]:
        try:
            reply = await self.bus.request(subjects.offer(process), offer, timeout_s=self.offer_timeout_s)
        except NoRespondersError:
            return "no_responders", ""
        except RequestTimeoutError:
            return "timeout", ""
        except MalformedMessageError:
            return "malformed", ""
        match reply:
            case OfferAnswered():
                return reply
            case OfferRefused():
                return reply.reason, reply.detail
        return "malformed", ""

    async def cancel_offer(self, process: ProcessId, call: CallId) -> None:
        """Tell a process whose answer was late or unused to end the call."""
        await self.bus.publish(subjects.control(process, call), Hangup(call=call))
