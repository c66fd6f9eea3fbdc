"""Knows the media processes by their heartbeats and asks them, one after the other, to answer an offer."""

import asyncio
import random
from dataclasses import dataclass, field

from services.contracts import ids, messages, subjects
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
from services.runtime import clock, tracing
from services.runtime.bus import Bus
from services.runtime.errors import HushgateError, NoRespondersError, RequestTimeoutError
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.core.placement import MAX_ATTEMPTS, NoPlace, Placement

OFFER_TIMEOUT_S = 2.0
FIRST_HEARTBEAT_S = 1.5  # they come once a second


class NotPlacedError(HushgateError):
    """No process answered the offer. ``reason`` is a key of `errors.PLACEMENT`, or `bad_offer`."""

    retryable = True

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"not placed: {reason}")
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Directory:
    """The shell around `Placement`."""

    bus: Bus
    offer_timeout_s: float = OFFER_TIMEOUT_S
    _placement: Placement = field(default_factory=Placement)
    _dice: random.Random = field(default_factory=random.Random)  # chooses a process, protects nothing

    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Begin to hear heartbeats; returns when the first has come, or when there seems to be none.

        So a process that has just become ready does not refuse calls that the others could have placed.
        """
        await self.bus.listen(subjects.MEDIA_HEARTBEAT, self.hear)
        try:
            async with asyncio.timeout(FIRST_HEARTBEAT_S):
                await self._heard.wait()
        except TimeoutError:
            get_logger().warning("no_media_process_heard")
        metrics.MEDIA_PROCESSES.set_function(lambda: self._placement.fresh(now=clock.monotonic()))

    def hear(self, _: str, data: bytes) -> None:
        """Take in a heartbeat; one that cannot be read is counted."""
        try:
            heartbeat = messages.expect(Heartbeat, data)
            ids.process_id(heartbeat.process)
        except (MalformedMessageError, InvalidIdError) as exc:
            metrics.HEARTBEATS_MALFORMED.inc()
            get_logger().warning("heartbeat_malformed", error=str(exc))
            return
        self._placement.heard(heartbeat, now=clock.monotonic())
        self._heard.set()

    async def place(self, call: CallId, sdp: str, grant: Grant) -> str:
        """The SDP answer of the first process that takes the call; at most three are asked.

        Raises:
            NotPlacedError: none does.
        """
        reason, detail, silent = "", "", False
        tried: set[ProcessId] = set()
        leg = ids.new_leg_id()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            chosen = self._placement.choose(self._dice, tried=tried, now=clock.monotonic())
            if isinstance(chosen, NoPlace):
                reason = reason or str(chosen)
                break
            tried.add(chosen)
            offer = Offer(call=call, leg=leg, attempt=attempt, sdp=sdp, grant=grant)
            outcome = await self._ask(chosen, offer)
            if isinstance(outcome, OfferAnswered):
                return outcome.sdp
            reason, detail = outcome
            silent = silent or reason == "timeout"
            if reason == "bad_offer":
                break
        if silent:
            await self.forget(call)
        metrics.PLACEMENTS_FAILED.labels(reason).inc()
        raise NotPlacedError(reason, detail)

    async def _ask(self, process: ProcessId, offer: Offer) -> OfferAnswered | tuple[str, str]:
        span = tracing.stage("offer", kind="client")
        span.note(process=process, attempt=offer.attempt)
        with span.current():
            reply = await self._answer(process, offer)
        outcome = "answered" if isinstance(reply, OfferAnswered) else reply[0]
        span.note(outcome=outcome)
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

    async def forget(self, call: CallId) -> None:
        """A process that answered after its time, or in vain, would wait for a caller who never comes; it need not."""
        await self.bus.publish(subjects.control(call), Hangup(call=call))
