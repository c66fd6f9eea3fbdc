"""One upstream process: answers claims from the queue group, routes frames to its calls, drains them at the end."""

import asyncio
from dataclasses import dataclass, field

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue
from structlog.contextvars import bound_contextvars

from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.ids import CallId, InvalidIdError, WorkerId, call_id, new_session_id, process_id, tenant_id
from services.contracts.message import Message
from services.contracts.messages import (
    AnyMessage,
    Claim,
    ClaimGranted,
    ClaimRefusal,
    ClaimRefused,
    MalformedMessageError,
)
from services.runtime import clock
from services.runtime.bus.client import Bus, unsubscribe
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.process.admission import Admission
from services.runtime.telemetry import metrics as bus_metrics
from services.runtime.telemetry import tracing
from services.runtime.telemetry.logging import get_logger
from services.runtime.telemetry.tracing import LiveSpan, Tracer
from services.upstream import metrics
from services.upstream.claimed_call import ClaimedCall
from services.upstream.connectors.base import Connector
from services.upstream.core.session import SessionCore
from services.upstream.lease import Lease, LeaseTakenError, LeaseTiming
from services.upstream.session_runner import SessionRunner
from services.upstream.session_usage import SessionUsage
from services.upstream.tenant_rates import TenantRates
from services.upstream.trace import SessionTrace

_MAX_MODEL = 128
_LEASE_WAIT_S = 1.5
_ANSWER_S = 0.2
"""Reserved of a claim's deadline, so that the reply arrives in time."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What all calls of a worker have in common. ``capacity``: most calls at a time.

    ``eager_waste_percent``: most of a call's response tokens that answers which nobody heard may cost.
    """

    worker: WorkerId
    provider: str
    model: str
    capacity: int
    eager_waste_percent: int = 10
    lease: LeaseTiming = field(default_factory=LeaseTiming)


class Worker:
    """Owns calls, each a task of ``group``. Call `start`, and `close` before the group ends."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        config: WorkerConfig,
        *,
        bus: Bus,
        leases: KeyValue,
        connector: Connector,
        usage: UsageWriter,
        group: asyncio.TaskGroup,
        rates: TenantRates,
        tracer: Tracer = Tracer(),  # noqa: B008 - frozen, and records nothing
    ) -> None:
        self._config = config
        self._bus = bus
        self._leases = leases
        self._connector = connector
        self._usage = usage
        self._rates = rates
        self._group = group
        self._tracer = tracer
        self._calls: dict[CallId, SessionRunner] = {}
        self._claims: Subscription | None = None
        self._frames: Subscription | None = None
        self._queue_lock = asyncio.Lock()
        self._admission = Admission(config.capacity)
        metrics.SESSIONS_CAPACITY.set(config.capacity)

    @property
    def active(self) -> int:
        """The number of calls that this worker owns or has reserved room for."""
        return self._admission.active + self._admission.reserved

    async def start(self) -> None:
        """Subscribe to frames and claims."""
        self._frames = await self._bus.subscribe(subjects.up_of(self._config.worker), self._on_frame)
        await self._join_or_leave()

    async def close(self, *, timeout_s: float) -> None:
        """Accept no more calls, wait up to ``timeout_s`` for those here to end, then end them as `drained`."""
        self._admission.draining = True
        await self._join_or_leave()
        await self._admission.drain(timeout_s=timeout_s, end_calls=self._end_calls)
        if self._frames is not None:
            await unsubscribe(self._frames)

    def _end_calls(self) -> None:
        for call in tuple(self._calls.values()):
            call.end(EndReason.DRAINED)

    async def on_claim(self, subject: str, message: AnyMessage) -> Message:
        """Grant a call, or refuse it with the reason. ``subject`` names the process that asks.

        Raises:
            MalformedMessageError: no claim, or one in the name of another process; it gets no reply.
        """
        if not isinstance(message, Claim):
            raise MalformedMessageError(f"{message.type} where a claim belongs")
        if message.process != subjects.process_of(subject):
            raise MalformedMessageError("a claim in the name of another process")
        refusal = self._refusal(message)
        reply = refusal or await self._grant_traced(message)
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
        elif refusal := self._admission.refusal():
            reason = refusal
        elif self._admission.is_reserved(claim.call) or self._is_held(claim.call):
            reason = "lease_taken"
        elif self._usage.failing:
            reason = "internal"
        return ClaimRefused(reason=reason) if reason else None

    def _is_held(self, call_id: CallId) -> bool:
        call = self._calls.get(call_id)
        return call is not None and call.is_held

    async def _grant_traced(self, claim: Claim) -> Message:
        """Grant the call within the span of its session, which a refusal ends."""
        span = self._tracer.start_span("session", kind="server")
        span.set_attributes(call_id=claim.call, tenant_id=claim.grant.tenant, worker=self._config.worker)
        with span.current():
            reply = await self._reserve_and_grant(claim, span)
        if isinstance(reply, ClaimRefused):
            span.end(error=reply.reason)
        return reply

    async def _reserve_and_grant(self, claim: Claim, span: LiveSpan) -> Message:
        try:
            with self._admission.reserve(claim.call):
                return await self._grant(claim, span)
        except LeaseTakenError:
            return ClaimRefused(reason="lease_taken")
        except (NatsError, TimeoutError) as exc:
            return ClaimRefused(reason="internal", detail=f"no lease: {type(exc).__name__}")
        finally:
            await self._calls_changed()

    async def _grant(self, claim: Claim, span: LiveSpan) -> Message:
        if (previous := self._calls.get(claim.call)) is not None:  # its media is silent, or is ending it just now
            previous.end(EndReason.INTERNAL, "claimed again")
        with tracing.start_child("lease").closing():
            lease = await Lease.acquire(
                self._leases,
                call=claim.call,
                worker=self._config.worker,
                timing=self._config.lease,
                wait_s=min(_LEASE_WAIT_S, (claim.deadline_unix_ms - clock.unix_ms()) / 1000 - _ANSWER_S),
            )
        if self._admission.draining:  # SIGTERM came while the lease was being made
            await lease.release()
            return ClaimRefused(reason="draining")
        return self._start_call(claim, lease, SessionTrace(span))

    def _start_call(self, claim: Claim, lease: Lease, trace: SessionTrace) -> ClaimGranted:
        requested = claim.grant.session.get("model")
        model = requested if isinstance(requested, str) and 0 < len(requested) <= _MAX_MODEL else self._config.model
        facts = ClaimedCall(
            id=claim.call,
            session=new_session_id(),
            tenant=claim.grant.tenant,
            process=claim.process,
            worker=self._config.worker,
            provider=self._config.provider,
            model=model,
        )
        expires_at = clock.unix_ms() // 1000 + claim.grant.limits.max_seconds
        core = SessionCore(
            session_id=facts.session,
            grant=claim.grant,
            model=model,
            expires_at=expires_at,
            capabilities=self._connector.capabilities,
            turn_terms=claim.turns,
            eager_waste_percent=self._config.eager_waste_percent,
        )
        call = SessionRunner(
            facts,
            core=core,
            bus=self._bus,
            lease=lease,
            connector=self._connector,
            usage=self._session_usage(facts, lease),
            rates=self._rates,
            trace=trace,
        )
        self._calls[facts.id] = call
        self._admission.begin()
        self._group.create_task(self._run_call(call), name=f"call {facts.id}")
        return ClaimGranted(
            worker=self._config.worker,
            epoch=lease.epoch,
            session=facts.session,
            provider=facts.provider,
            model=model,
        )

    def _session_usage(self, facts: ClaimedCall, lease: Lease) -> SessionUsage:
        return SessionUsage(
            self._usage,
            tenant=facts.tenant,
            call=facts.id,
            session=facts.session,
            epoch=lease.epoch,
            provider=facts.provider,
            model=facts.model,
        )

    async def _run_call(self, call: SessionRunner) -> None:
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
                self._admission.end()
                self._admission.settle()
                metrics.ENDED.labels(reason).inc()
                await self._calls_changed()

    def _on_frame(self, subject: str, data: bytes) -> None:
        call = self._calls.get(subjects.call_of(subject))
        if call is None:  # in flight when the call ended
            bus_metrics.BUS_DROPPED.labels("no_call").inc()
            return
        if subject != call.media_subject:
            bus_metrics.BUS_DROPPED.labels("wrong_sender").inc()
            return
        call.on_frame(data)

    async def _calls_changed(self) -> None:
        metrics.CALLS_OWNED.set(len(self._calls))
        await self._join_or_leave()

    async def _join_or_leave(self) -> None:
        """Be in the queue group exactly while there is room for a call: its members get the claims."""
        async with self._queue_lock:
            has_room = self._admission.refusal() is None
            if has_room and self._claims is None:
                self._claims = await self._bus.serve_named(
                    subjects.CLAIMS, self.on_claim, queue=subjects.UPSTREAM_QUEUE
                )
            elif not has_room and self._claims is not None:
                left, self._claims = self._claims, None
                await unsubscribe(left)
