"""The calls of one media process: admits offers, runs calls, drains them."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.contracts import subjects
from services.contracts.connect import LegAnswer
from services.contracts.endings import EndReason
from services.contracts.grant import Grant
from services.contracts.ids import CallId, LegId, ProcessId
from services.contracts.message import Message
from services.contracts.messages import (
    AnyMessage,
    ClaimGranted,
    Done,
    Hangup,
    MalformedMessageError,
    Offer,
    OfferAnswered,
    OfferRefused,
    Restart,
)
from services.contracts.turn_detection import DEFAULT_THRESHOLD, TurnTerms, granted_turn_detection
from services.media import metrics
from services.media.answer_cache import AnswerCache, IceRestarts, refused, unreadable
from services.media.call import Call
from services.media.call_details import CallDetails
from services.media.call_records import CallRecords
from services.media.claims import claim, give_back
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.speech.gate_config import GateConfig
from services.media.leg import Answerer, Leg
from services.media.speech_detection import SpeechDetection
from services.media.trace import CallTrace, traced
from services.media.usage import UsageReporter
from services.runtime import clock
from services.runtime.bus.client import Bus, unsubscribe
from services.runtime.process.admission import Admission
from services.runtime.telemetry import metrics as bus_metrics
from services.runtime.telemetry import tracing
from services.runtime.telemetry.logging import get_logger
from services.runtime.telemetry.tracing import LiveSpan, Tracer

ANSWER_S = 1.8
TICK_S = 0.1
MAX_REMEMBERED_OFFERS = 256

OfferKey = tuple[CallId, LegId, int]


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Settings that all calls of a process share. ``capacity`` is in legs."""

    process: ProcessId
    capacity: int
    gate: GateConfig
    detection: SpeechDetection
    turns: TurnTerms = field(default_factory=TurnTerms)


class Pool:
    """Answers offers, routes frames, ends calls. Its calls are tasks of ``group``.

    ``answerers``: by the transport of the offer.
    """

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        config: PoolConfig,
        *,
        bus: Bus,
        answerers: Mapping[str, Answerer],
        history: CallRecords,
        usage: UsageReporter,
        group: asyncio.TaskGroup,
        tracer: Tracer = Tracer(),  # noqa: B008 - frozen, and records nothing
    ) -> None:
        self._config = config
        self._bus = bus
        self._answerers = answerers
        self._history = history
        self._usage = usage
        self._group = group
        self._tracer = tracer
        self._offers: AnswerCache[OfferKey] = AnswerCache(limit=MAX_REMEMBERED_OFFERS)
        self._restarts = IceRestarts()
        self._calls: dict[CallId, Call] = {}
        self.newest = clock.unix_ms()
        """The number of the newest call. It begins with the time, so that numbers grow over a restart."""
        self.admission = Admission(config.capacity)
        self._offer_subscription: Subscription | None = None
        self._running = AsyncExitStack()
        metrics.CALLS_CAPACITY.set(config.capacity)

    def calls(self) -> Iterable[Call]:
        """The live calls."""
        return self._calls.values()

    async def subscribe(self) -> None:
        """Subscribe to the frames of workers and the requests of signaling. Call it once, before the first offer."""
        down = await self._bus.subscribe(subjects.down_of(self._config.process), self._on_worker_frame)
        self._running.push_async_callback(unsubscribe, down)
        self._offer_subscription = await self._bus.serve(subjects.offer(self._config.process), self.answer_offer)
        ticking = self._group.create_task(self._run_timers(), name="timers")
        self._running.callback(ticking.cancel)

    async def close(self, *, timeout_s: float) -> None:
        """Refuse further offers, let calls finish for ``timeout_s``, then end them as drained."""
        self.admission.draining = True
        if self._offer_subscription is not None:
            await unsubscribe(self._offer_subscription)
        await self.admission.drain(timeout_s=timeout_s, end_calls=self._end_calls)
        await self._running.aclose()

    def _end_calls(self) -> None:
        for call in tuple(self._calls.values()):
            call.end(EndReason.DRAINED)

    async def answer_offer(self, message: AnyMessage) -> Message:
        """Answer an offer, or refuse it with a reason. Idempotent: the same offer again gets the same answer."""
        if not isinstance(message, Offer):
            raise MalformedMessageError(f"{message.type} where an offer belongs")
        key = (message.call, message.leg, message.attempt)
        return await self._offers.answer(key, partial(self._admit, message))

    async def _admit(self, offer: Offer) -> Message:
        reply: Message | None = self._refusal(offer)
        if reply is None:
            try:
                with self.admission.reserve(offer.call):
                    self._export_counts()
                    reply = await traced(self._tracer, offer, self._config.process, partial(self._answer, offer))
            finally:
                self._export_counts()
        if isinstance(reply, OfferRefused):
            metrics.OFFERS_REFUSED.labels(reply.reason).inc()
            get_logger().warning("offer_refused", call_id=offer.call, reason=reply.reason, detail=reply.detail)
        return reply

    def _refusal(self, offer: Offer) -> OfferRefused | None:
        if malformed := unreadable(offer, transports=self._answerers):
            return malformed
        if self.admission.draining:
            return OfferRefused(reason="draining")
        if self._usage.failing:
            return OfferRefused(reason="internal", detail="usage cannot be written to the disk")
        if offer.call in self._calls or self.admission.is_reserved(offer.call):
            return OfferRefused(reason="internal", detail="the call is here already; further legs are not served")
        reason = self.admission.refusal()
        return OfferRefused(reason=reason) if reason else None

    async def _answer(self, offer: Offer, span: LiveSpan) -> Message:
        """Claim a worker and make the leg concurrently; release both if no call is started."""
        began = clock.monotonic()
        owner, answered = await asyncio.gather(
            claim(
                self._bus,
                call=offer.call,
                process=self._config.process,
                grant=offer.grant,
                turns=self._turn_terms(offer.grant),
            ),
            self._answer_leg(offer),
            return_exceptions=True,
        )
        reply = self._start_or_refuse(offer, owner, answered, began, span)
        if isinstance(reply, OfferAnswered):
            metrics.SETUP_DURATION.labels("answer").observe(clock.monotonic() - began)
            return reply
        if isinstance(owner, ClaimGranted):
            await give_back(self._bus, offer.call, owner, process=self._config.process)
        if not isinstance(answered, BaseException):
            await answered[0].close()
        return reply

    def _start_or_refuse(
        self,
        offer: Offer,
        owner: ClaimGranted | BaseException,
        answered: tuple[Leg, LegAnswer] | BaseException,
        offered_at: float,
        span: LiveSpan,
    ) -> OfferAnswered | OfferRefused:
        if isinstance(owner, BaseException) or isinstance(answered, BaseException):
            return refused(owner, answered)
        if self.admission.draining:  # draining began while the offer was being answered
            return OfferRefused(reason="draining")
        try:
            self._start_call(offer, owner, answered[0], offered_at, CallTrace(span))
        except Exception as exc:  # noqa: BLE001 - whatever it is, leg and claim must not stay behind
            return refused(owner, exc)
        return OfferAnswered(connect=answered[1], number=self.newest)

    async def _answer_leg(self, offer: Offer) -> tuple[Leg, LegAnswer]:
        with tracing.start_child("answer").closing():
            async with asyncio.timeout(ANSWER_S):
                return await self._answerers[offer.connect.transport](offer.leg, offer.connect)

    def _turn_terms(self, grant: Grant) -> TurnTerms:
        terms = self._config.turns
        return terms if grant.eager else terms.model_copy(update={"eager_ms": 0})

    def _start_call(self, offer: Offer, owner: ClaimGranted, leg: Leg, offered_at: float, trace: CallTrace) -> None:
        turns = granted_turn_detection(offer.grant.session, self._turn_terms(offer.grant))
        speech = self._config.detection.open_stream()
        if turns is not None and turns.threshold != DEFAULT_THRESHOLD:
            speech.set_threshold(turns.threshold)
        config = ConversationConfig(
            epoch=owner.epoch,
            max_seconds=offer.grant.limits.max_seconds,
            gate=self._config.gate if offer.grant.eager else replace(self._config.gate, eager_frames=0),
            own_events=offer.grant.events,
            receive_delay_ms=leg.receive_delay_ms,
            receives_audio=leg.receives_audio,
            turns=turns,
        )
        started = clock.unix_ms()
        tenant, key = offer.grant.tenant, offer.grant.key
        facts = CallDetails(offer.call, tenant, self._config.process, owner, started, offered_at, key)
        call = Call(
            facts,
            legs=(leg,),
            conversation=Conversation(config, now=clock.monotonic()),
            speech=speech,
            bus=self._bus,
            trace=trace,
        )
        self._group.create_task(self._run_call(call), name=f"call {offer.call}")
        self._calls[offer.call] = call
        self.newest += 1
        self.admission.begin()
        metrics.CALLS_STARTED.inc()
        metrics.announce_owner(owner.provider, owner.model)
        kind = {"transport": offer.connect.transport, "pace": leg.pace}
        get_logger().info("call_started", call_id=offer.call, tenant=facts.tenant, worker=owner.worker, **kind)

    async def _run_call(self, call: Call) -> None:
        facts = call.facts
        began = clock.monotonic()
        reason = EndReason.INTERNAL
        control = await self._listen_for_control(call)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._history.started(facts.started()), name="started")
                # The ledger accepts a worker's usage of a call once media has reported which worker owns it.
                group.create_task(self._usage.write(call), name="owner")
                reason = await call.run()
        except Exception:  # noqa: BLE001 - the edge of a task: one call's failure must not end the others
            get_logger().exception("call_failed", call_id=facts.id, stage="run")
        finally:
            self._calls.pop(facts.id, None)
            self.admission.end()
            self._export_counts()
            metrics.CALLS_ENDED.labels(facts.owner.provider, reason).inc()
            call.trace.ended(reason, facts.owner, now=clock.monotonic())
            metrics.CALL_DURATION.observe(clock.monotonic() - began)
            get_logger().info("call_ended", call_id=facts.id, tenant=facts.tenant, reason=reason)
        await self._record_end(call, reason, control)

    async def _record_end(self, call: Call, reason: EndReason, control: Subscription | None) -> None:
        """Write the call's last usage and its record. The process may exit only after that."""
        try:
            if control is not None:
                await unsubscribe(control)
            await self._usage.write_last(call)
            await self._history.ended(call.facts.ended(reason))
        finally:
            self.admission.settle()

    async def _listen_for_control(self, call: Call) -> Subscription | None:
        try:
            return await self._bus.serve(subjects.control(call.facts.process, call.facts.id), self._on_control_message)
        except NatsError as exc:
            get_logger().error("call_failed", call_id=call.facts.id, stage="control", reason=type(exc).__name__)
            call.end(EndReason.INTERNAL)
            return None

    async def _on_control_message(self, message: AnyMessage) -> Message:
        if isinstance(message, Restart):
            return await self._restarts.answer(self._calls.get(message.call), message, timeout_s=ANSWER_S)
        if not isinstance(message, Hangup):
            raise MalformedMessageError(f"{message.type} where a hang-up or a restart belongs")
        if (call := self._calls.get(message.call)) and call.leg(message.leg):
            call.end(message.reason)  # with the leg that it serves
        return Done()

    async def _run_timers(self) -> None:
        """Run the timers of all calls together: 200 take about 1 ms (tests/bench/hotpath.py), so none is spread out."""
        while True:
            now = clock.monotonic()
            for call in tuple(self._calls.values()):
                call.on_timer(now=now)
            await asyncio.sleep(TICK_S)

    def _on_worker_frame(self, subject: str, data: bytes) -> None:
        call = self._calls.get(subjects.call_of(subject))
        if call is None:  # in flight when the call ended
            bus_metrics.BUS_DROPPED.labels("no_call").inc()
            return
        if subject != call.worker_subject:
            bus_metrics.BUS_DROPPED.labels("wrong_sender").inc()
            return
        call.on_worker_frame(data)

    def _export_counts(self) -> None:
        metrics.CALLS_ACTIVE.set(len(self._calls))
        metrics.CALLS_RESERVED.set(self.admission.reserved)
