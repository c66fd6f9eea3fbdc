"""One upstream process: claims calls from the queue group, routes their frames, lets them finish when told to stop."""

import asyncio
from dataclasses import dataclass, field

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue
from structlog.contextvars import bound_contextvars

from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.ids import CallId, InvalidIdError, WorkerId, call_id, new_session_id, process_id, tenant_id
from services.contracts.messages import (
    AnyMessage,
    Claim,
    ClaimGranted,
    ClaimRefusal,
    ClaimRefused,
    MalformedMessageError,
    Message,
)
from services.runtime import clock, tracing
from services.runtime import metrics as bus_metrics
from services.runtime.bus import Bus, unsubscribe
from services.runtime.health import Health
from services.runtime.logging import get_logger
from services.runtime.tracing import Live, Tracer
from services.upstream import metrics
from services.upstream.call import Call
from services.upstream.connectors.base import Connector
from services.upstream.core.session import SessionCore
from services.upstream.facts import CallFacts
from services.upstream.lease import Lease, LeaseTakenError, LeaseTiming
from services.upstream.meters import Disk, Meters, UsageSink
from services.upstream.trace import CallTrace

_MAX_MODEL = 128
_LEASE_WAIT_S = 1.5
_ANSWER_S = 0.2
"""Kept of a claim's time, so that the answer arrives within it."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What all calls of a worker have in common."""

    worker: WorkerId
    provider: str
    model: str
    capacity: int
    lease: LeaseTiming = field(default_factory=LeaseTiming)


class Worker:
    """Owns calls. They are tasks of ``group``."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        config: WorkerConfig,
        *,
        bus: Bus,
        leases: KeyValue,
        connector: Connector,
        sink: UsageSink,
        health: Health,
        group: asyncio.TaskGroup,
        tracer: Tracer = Tracer(),  # noqa: B008 - frozen, and records nothing
    ) -> None:
        self._config = config
        self._bus = bus
        self._leases = leases
        self._connector = connector
        self._sink = sink
        self._disk = Disk(health)
        self._group = group
        self._tracer = tracer
        self._calls: dict[CallId, Call] = {}
        self._claiming: set[CallId] = set()
        self._claims: Subscription | None = None
        self._frames: Subscription | None = None
        self._queue_lock = asyncio.Lock()
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False
        metrics.SESSIONS_CAPACITY.set(config.capacity)

    @property
    def active(self) -> int:
        """Calls that this worker owns or is about to."""
        return len(self._calls) + len(self._claiming)

    async def open(self) -> None:
        """Listen for frames and claims."""
        self._frames = await self._bus.listen(subjects.up_of(self._config.worker), self._frame)
        await self._join_or_leave()

    async def close(self, *, timeout_s: float) -> None:
        """Take no more calls, let those here finish for ``timeout_s``, then end them as drained."""
        self.draining = True
        await self._join_or_leave()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            get_logger().warning("drain_timed_out", calls=self.active)
            for call in tuple(self._calls.values()):
                call.end(EndReason.DRAINED)
            await self._empty.wait()
        if self._frames is not None:
            await unsubscribe(self._frames)

    async def claim(self, subject: str, message: AnyMessage) -> Message:
        """Take a call, or say why not. ``subject`` names the process that asks."""
        if not isinstance(message, Claim):
            raise MalformedMessageError(f"{message.type} where a claim belongs")
        if message.process != subjects.process_of(subject):
            raise MalformedMessageError("a claim in the name of another process")
        refusal = self._refusal(message)
        reply = refusal or await self._traced_take(message)
        outcome = reply.reason if isinstance(reply, ClaimRefused) else "granted"
        metrics.CLAIMS.labels(outcome).inc()
        if isinstance(reply, ClaimRefused):
            get_logger().warning("claim_refused", call_id=message.call, reason=reply.reason, detail=reply.detail)
        return reply

    def _refusal(self, claim: Claim) -> ClaimRefused | None:
        try:
            call_id(claim.call)
            process_id(claim.process)
            tenant_id(claim.grant.tenant)
        except InvalidIdError as exc:
            return ClaimRefused(reason="internal", detail=f"no valid {exc.kind}")
        reason: ClaimRefusal | None = None
        if clock.unix_ms() > claim.deadline_unix_ms:
            reason = "too_late"
        elif self.draining:
            reason = "draining"
        elif self.active >= self._config.capacity:
            reason = "full"
        elif claim.call in self._claiming or self._is_held(claim.call):
            reason = "lease_taken"
        elif claim.providers and self._config.provider not in claim.providers:
            reason = "unknown_provider"
        elif self._disk.failing:
            reason = "internal"
        return ClaimRefused(reason=reason) if reason else None

    def _is_held(self, call_id: CallId) -> bool:
        call = self._calls.get(call_id)
        return call is not None and call.is_held

    async def _traced_take(self, claim: Claim) -> Message:
        """The span of a session lasts until its end, or until there will be none."""
        span = self._tracer.begin("session", kind="server")
        span.note(call_id=claim.call, tenant_id=claim.grant.tenant, worker=self._config.worker)
        with span.current():
            reply = await self._take(claim, span)
        if isinstance(reply, ClaimRefused):
            span.end(error=reply.reason)
        return reply

    async def _take(self, claim: Claim, span: Live) -> Message:
        self._claiming.add(claim.call)
        self._empty.clear()
        try:
            if (unheard := self._calls.get(claim.call)) is not None:  # its media hangs, or gives it back just now
                unheard.end(EndReason.INTERNAL, "claimed again")
            with tracing.stage("lease").whole():
                lease = await Lease.acquire(
                    self._leases,
                    call=claim.call,
                    worker=self._config.worker,
                    timing=self._config.lease,
                    wait_s=min(_LEASE_WAIT_S, (claim.deadline_unix_ms - clock.unix_ms()) / 1000 - _ANSWER_S),
                )
            if self.draining:  # SIGTERM came while the lease was being made
                await lease.release()
                return ClaimRefused(reason="draining")
            return self._begin(claim, lease, CallTrace(span))
        except LeaseTakenError:
            return ClaimRefused(reason="lease_taken")
        except (NatsError, TimeoutError) as exc:
            return ClaimRefused(reason="internal", detail=f"no lease: {type(exc).__name__}")
        finally:
            self._claiming.discard(claim.call)
            await self._counted()

    def _begin(self, claim: Claim, lease: Lease, trace: CallTrace) -> ClaimGranted:
        wished = claim.grant.session.get("model")
        model = wished if isinstance(wished, str) and 0 < len(wished) <= _MAX_MODEL else self._config.model
        facts = CallFacts(
            id=claim.call,
            session=new_session_id(),
            tenant=claim.grant.tenant,
            process=claim.process,
            worker=self._config.worker,
            provider=self._config.provider,
            model=model,
        )
        expires_at = clock.unix_ms() // 1000 + claim.grant.limits.max_seconds
        core = SessionCore(session_id=facts.session, grant=claim.grant, model=model, expires_at=expires_at)
        call = Call(
            facts,
            core=core,
            bus=self._bus,
            lease=lease,
            connector=self._connector,
            meters=self._meters(facts, lease),
            trace=trace,
        )
        self._calls[facts.id] = call
        self._group.create_task(self._carry(call), name=f"call {facts.id}")
        return ClaimGranted(
            worker=self._config.worker,
            epoch=lease.epoch,
            session=facts.session,
            provider=facts.provider,
            model=model,
        )

    def _meters(self, facts: CallFacts, lease: Lease) -> Meters:
        return Meters(
            self._sink,
            self._disk,
            tenant=facts.tenant,
            call=facts.id,
            session=facts.session,
            epoch=lease.epoch,
            provider=facts.provider,
            model=facts.model,
        )

    async def _carry(self, call: Call) -> None:
        facts = call.facts
        reason = EndReason.INTERNAL
        with bound_contextvars(call_id=facts.id, tenant=facts.tenant):
            get_logger().info("session_started", session=facts.session, model=facts.model)
            try:
                reason = await call.run()
            except Exception:  # noqa: BLE001 - the edge of a task: one call's failure must not end the others
                get_logger().exception("session_failed", reason="internal")
            finally:
                if self._calls.get(facts.id) is call:  # else it was claimed again meanwhile
                    del self._calls[facts.id]
                metrics.ENDED.labels(reason).inc()
                await self._counted()

    def _frame(self, subject: str, data: bytes) -> None:
        call = self._calls.get(subjects.call_of(subject))
        if call is None:  # in flight when the call ended
            bus_metrics.BUS_DROPPED.labels("no_call").inc()
            return
        if subject != call.media_subject:
            bus_metrics.BUS_DROPPED.labels("wrong_sender").inc()
            return
        call.frame(data)

    async def _counted(self) -> None:
        metrics.CALLS_OWNED.set(len(self._calls))
        if not self.active:
            self._empty.set()
        await self._join_or_leave()

    async def _join_or_leave(self) -> None:
        """Be in the queue group exactly while there is room: who is in it is asked."""
        async with self._queue_lock:
            wanted = not self.draining and self.active < self._config.capacity
            if wanted and self._claims is None:
                self._claims = await self._bus.serve_named(subjects.CLAIMS, self.claim, queue=subjects.UPSTREAM_QUEUE)
            elif not wanted and self._claims is not None:
                left, self._claims = self._claims, None
                await unsubscribe(left)
