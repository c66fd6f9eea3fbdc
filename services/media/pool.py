"""The calls of one media process: who may come in, who is there, how they go."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.ids import CallId, LegId, ProcessId
from services.contracts.messages import (
    AnyMessage,
    ClaimGranted,
    Done,
    Hangup,
    MalformedMessageError,
    Message,
    Offer,
    OfferAnswered,
    OfferRefused,
    Restart,
)
from services.media import metrics
from services.media.answers import Once, Restarts, refused, unreadable
from services.media.call import Call, CallFacts
from services.media.claims import claim, give_back
from services.media.core.conversation import Conversation, ConversationConfig
from services.media.core.detector import Detector
from services.media.core.gate import GateConfig
from services.media.history import History
from services.media.leg import Answerer, Leg
from services.media.trace import CallTrace, traced
from services.media.usage import Meters
from services.runtime import clock, tracing
from services.runtime import metrics as bus_metrics
from services.runtime.bus import Bus, unsubscribe
from services.runtime.logging import get_logger
from services.runtime.tracing import Live, Tracer

ANSWER_S = 1.8
TICK_S = 0.1
MAX_REMEMBERED_OFFERS = 256

OfferKey = tuple[CallId, LegId, int]


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """What all calls of a process have in common."""

    process: ProcessId
    capacity: int
    gate: GateConfig
    detector: Callable[[], Detector]


class Pool:
    """Answers offers, routes frames, ends calls. Its calls are tasks of ``group``."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        config: PoolConfig,
        *,
        bus: Bus,
        answerer: Answerer,
        history: History,
        meters: Meters,
        group: asyncio.TaskGroup,
        tracer: Tracer = Tracer(),  # noqa: B008 - frozen, and records nothing
    ) -> None:
        self._config = config
        self._bus = bus
        self._answerer = answerer
        self._history = history
        self._meters = meters
        self._group = group
        self._tracer = tracer
        self._offers: Once[OfferKey] = Once(limit=MAX_REMEMBERED_OFFERS)
        self._restarts = Restarts()
        self._calls: dict[CallId, Call] = {}
        self._reserved: set[CallId] = set()
        self._settling = 0  # calls that are not over or not yet written down
        self._empty = asyncio.Event()  # no such call, and no offer that is being answered
        self._empty.set()
        self._offer_subscription: Subscription | None = None
        self._running = AsyncExitStack()
        self.draining = False
        metrics.CALLS_CAPACITY.set(config.capacity)

    @property
    def active(self) -> int:
        """Calls that were answered and are not over."""
        return len(self._calls)

    @property
    def reserved(self) -> int:
        """Calls that are being answered."""
        return len(self._reserved)

    def calls(self) -> Iterable[Call]:
        """The live calls."""
        return self._calls.values()

    async def open(self) -> None:
        """Listen to workers and to signaling."""
        down = await self._bus.listen(subjects.down_of(self._config.process), self._worker_frame)
        self._running.push_async_callback(unsubscribe, down)
        self._offer_subscription = await self._bus.serve(subjects.offer(self._config.process), self.offer)
        ticking = self._group.create_task(self._keep_ticking(), name="ticks")
        self._running.callback(ticking.cancel)

    async def close(self, *, timeout_s: float) -> None:
        """Take no more offers, let calls finish for ``timeout_s``, then end them as drained."""
        self.draining = True
        if self._offer_subscription is not None:
            await unsubscribe(self._offer_subscription)
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            get_logger().warning("drain_timed_out", calls=self.active)
            for call in tuple(self._calls.values()):
                call.end(EndReason.DRAINED)
            await self._empty.wait()
        await self._running.aclose()

    async def offer(self, message: AnyMessage) -> Message:
        """Answer an offer, or say why not. The same offer again gets the same answer."""
        if not isinstance(message, Offer):
            raise MalformedMessageError(f"{message.type} where an offer belongs")
        key = (message.call, message.leg, message.attempt)
        return await self._offers.answer(key, partial(self._admit, message))

    async def _admit(self, offer: Offer) -> Message:
        reply: Message | None = self._refusal(offer)
        if reply is None:
            self._reserved.add(offer.call)
            self._count()
            try:
                reply = await traced(self._tracer, offer, self._config.process, partial(self._answer, offer))
            finally:
                self._reserved.discard(offer.call)
                self._count()
        if isinstance(reply, OfferRefused):
            metrics.OFFERS_REFUSED.labels(reply.reason).inc()
            get_logger().warning("offer_refused", call_id=offer.call, reason=reply.reason, detail=reply.detail)
        return reply

    def _refusal(self, offer: Offer) -> OfferRefused | None:
        if malformed := unreadable(offer):
            return malformed
        if self.draining:
            return OfferRefused(reason="draining")
        if self._meters.failing:
            return OfferRefused(reason="internal", detail="usage cannot be written to the disk")
        if offer.call in self._calls or offer.call in self._reserved:
            return OfferRefused(reason="internal", detail="the call is here already; further legs are not served")
        if self.active + self.reserved >= self._config.capacity:
            return OfferRefused(reason="full")
        return None

    async def _answer(self, offer: Offer, span: Live) -> Message:
        """Claim and answer at the same time; what was got is given back if no call comes of it."""
        began = clock.monotonic()
        owner, answered = await asyncio.gather(
            claim(self._bus, call=offer.call, process=self._config.process, grant=offer.grant),
            self._answer_leg(offer),
            return_exceptions=True,
        )
        reply = self._take_on(offer, owner, answered, began, span)
        if isinstance(reply, OfferAnswered):
            metrics.SETUP_DURATION.labels("answer").observe(clock.monotonic() - began)
            return reply
        if isinstance(owner, ClaimGranted):
            await give_back(self._bus, offer.call, owner)
        if not isinstance(answered, BaseException):
            await answered[0].close()
        return reply

    def _take_on(
        self,
        offer: Offer,
        owner: ClaimGranted | BaseException,
        answered: tuple[Leg, str] | BaseException,
        offered_at: float,
        span: Live,
    ) -> OfferAnswered | OfferRefused:
        if isinstance(owner, BaseException) or isinstance(answered, BaseException):
            return refused(owner, answered)
        if self.draining:  # it began while the offer was being answered
            return OfferRefused(reason="draining")
        try:
            self._begin(offer, owner, answered[0], offered_at, CallTrace(span))
        except Exception as exc:  # noqa: BLE001 - whatever it is, leg and claim must not stay behind
            return refused(owner, exc)
        return OfferAnswered(sdp=answered[1])

    async def _answer_leg(self, offer: Offer) -> tuple[Leg, str]:
        with tracing.stage("answer").whole():
            async with asyncio.timeout(ANSWER_S):
                return await self._answerer(offer.leg, offer.sdp)

    def _begin(self, offer: Offer, owner: ClaimGranted, leg: Leg, offered_at: float, trace: CallTrace) -> None:
        config = ConversationConfig(
            epoch=owner.epoch,
            max_seconds=offer.grant.limits.max_seconds,
            gate=self._config.gate,
            own_events=offer.grant.events,
            receive_delay_ms=leg.receive_delay_ms,
            listens=leg.listens,
        )
        started = clock.unix_ms()
        facts = CallFacts(offer.call, offer.grant.tenant, self._config.process, owner, started, offered_at)
        call = Call(
            facts,
            leg=leg,
            conversation=Conversation(config, now=clock.monotonic()),
            detector=self._config.detector(),
            bus=self._bus,
            trace=trace,
        )
        self._group.create_task(self._carry(call), name=f"call {offer.call}")
        self._calls[offer.call] = call
        self._settling += 1
        metrics.CALLS_STARTED.inc()
        metrics.announce_owner(owner.provider, owner.model)
        get_logger().info("call_started", call_id=offer.call, tenant=facts.tenant, worker=owner.worker)

    async def _carry(self, call: Call) -> None:
        facts = call.facts
        began = clock.monotonic()
        reason = EndReason.INTERNAL
        control = await self._listen_for_control(call)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._history.started(facts.started()), name="started")
                reason = await call.run()
        except Exception:  # noqa: BLE001 - the edge of a task: one call's failure must not end the others
            get_logger().exception("call_failed", call_id=facts.id, stage="run")
        finally:
            self._calls.pop(facts.id, None)
            self._count()
            metrics.CALLS_ENDED.labels(facts.owner.provider, reason).inc()
            call.trace.ended(reason, facts.owner, now=clock.monotonic())
            metrics.CALL_DURATION.observe(clock.monotonic() - began)
            get_logger().info("call_ended", call_id=facts.id, tenant=facts.tenant, reason=reason)
        await self._settle(call, reason, control)

    async def _settle(self, call: Call, reason: EndReason, control: Subscription | None) -> None:
        """Write down what the call was. Only then may the process go."""
        try:
            if control is not None:
                await unsubscribe(control)
            await self._meters.write_last(call)
            await self._history.ended(call.facts.ended(reason))
        finally:
            self._settling -= 1
            self._count()

    async def _listen_for_control(self, call: Call) -> Subscription | None:
        try:
            return await self._bus.serve(subjects.control(call.facts.id), self._control)
        except NatsError as exc:
            get_logger().error("call_failed", call_id=call.facts.id, stage="control", reason=type(exc).__name__)
            call.end(EndReason.INTERNAL)
            return None

    async def _control(self, message: AnyMessage) -> Message:
        if isinstance(message, Restart):
            return await self._restarts.answer(self._calls.get(message.call), message, timeout_s=ANSWER_S)
        if not isinstance(message, Hangup):
            raise MalformedMessageError(f"{message.type} where a hang-up or a restart belongs")
        if call := self._calls.get(message.call):
            call.end(message.reason)
        return Done()

    async def _keep_ticking(self) -> None:
        """Tick all calls together: 200 take about 1 ms (tests/bench/hotpath.py), so they need no spreading."""
        while True:
            now = clock.monotonic()
            for call in tuple(self._calls.values()):
                call.tick(now=now)
            await asyncio.sleep(TICK_S)

    def _worker_frame(self, subject: str, data: bytes) -> None:
        call = self._calls.get(subjects.call_of(subject))
        if call is None:  # in flight when the call ended
            bus_metrics.BUS_DROPPED.labels("no_call").inc()
            return
        call.worker_frame(data)

    def _count(self) -> None:
        metrics.CALLS_ACTIVE.set(self.active)
        metrics.CALLS_RESERVED.set(self.reserved)
        (self._empty.clear if self._settling or self._reserved else self._empty.set)()
