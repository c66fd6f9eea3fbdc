"""Runs one call: passes input from media, provider and timer to the session core, and executes its commands."""

import asyncio
import contextlib

from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.liveness import SILENT_S, Gone, Liveness
from services.contracts.messages import Ended
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.reliable_sender import SendQueueFullError
from services.runtime.telemetry import metrics as bus_metrics
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics
from services.upstream.caller_frames import CallerFrames
from services.upstream.claimed_call import ClaimedCall
from services.upstream.connectors.base import Connector
from services.upstream.core.commands import (
    AppendAudio,
    ApplyTurnDetection,
    BookUsage,
    ClearPlayout,
    CountEagerLimit,
    CountEagerTurn,
    CountError,
    CountMissing,
    CountRateRefusal,
    EndSession,
    ItemOver,
    ObserveStage,
    PublishAudio,
    PublishEvent,
    Reconnect,
    SendToProvider,
    SessionCommand,
    SessionInForce,
    TakeRates,
)
from services.upstream.core.minute_use import RateExceeded
from services.upstream.core.session import SessionCore
from services.upstream.errors import UpstreamUnavailableError
from services.upstream.event_counts import count_server_event
from services.upstream.inbox import MAX_WAITING, Inbox
from services.upstream.lease import Lease, LeaseLostError
from services.upstream.media_publisher import MediaPublisher
from services.upstream.provider_link import ProviderEvent, ProviderLink, ProviderLost, ProviderOpened, ProviderReads
from services.upstream.session_inputs import EndRequested, Input, RatesAnswered, TimerFired
from services.upstream.session_usage import SessionUsage
from services.upstream.tenant_rates import TenantRates
from services.upstream.trace import SessionTrace

_Recorded = (
    CountEagerLimit | CountEagerTurn | CountError | CountMissing | CountRateRefusal | ObserveStage | SessionInForce
)
_GONE: dict[Gone, str] = {"silent": "media is silent", "bus_away": "the bus is away"}
TIMER_S = 0.1
MAX_EVENTS_AT_ONCE = 16
"""Client events that are handled before other inputs, and other calls, have their turn."""
SETTLE_S = 1.5
"""Longest that the end of a call waits for usage that the provider has not reported."""


class SessionRunner:
    """Owns one call from its claim to its end. The worker passes it frames and runs `run` in a task."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        facts: ClaimedCall,
        *,
        core: SessionCore,
        bus: Bus,
        lease: Lease,
        connector: Connector,
        usage: SessionUsage,
        rates: TenantRates,
        trace: SessionTrace | None = None,
    ) -> None:
        self.facts = facts
        self.media_subject = subjects.up(facts.worker, facts.process, facts.id)
        """The only subject from which the call's frames are accepted."""
        self._core = core
        self._lease = lease
        self._bus = bus
        self._trace = trace or SessionTrace()
        self._down = MediaPublisher(bus, call=facts.id, process=facts.process, worker=facts.worker, epoch=lease.epoch)
        self._up = CallerFrames(epoch=lease.epoch, core=core, publisher=self._down, trace=self._trace)
        self._inbox: Inbox[Input] = Inbox()
        self._provider = ProviderLink(connector, facts.model, self._inbox)
        self._usage = usage
        self._rates = rates
        self._media = Liveness(clock.monotonic())
        self._ended: EndRequested | None = None
        self._is_closing = False  # nothing more is published to media
        self._has_media = False  # media has sent a frame

    @property
    def is_held(self) -> bool:
        """Whether a media process has sent frames of the call, and the call has not ended."""
        return self._has_media and self._ended is None

    def on_frame(self, data: bytes) -> None:
        """Queue a frame from media."""
        frame = self._up.decode_frame(data)
        if frame is None:
            return
        self._has_media = self._has_media or frame.kind is not Kind.ENDED  # that alone does not hold the call
        self._media.record_activity(now=clock.monotonic())
        if frame.kind is Kind.AUDIO_UP and len(self._inbox) > MAX_WAITING:  # late speech is worthless
            bus_metrics.BUS_DROPPED.labels("inbox").inc()
            return
        self._inbox.post(frame)

    def end(self, reason: EndReason, detail: str = "") -> None:
        """End the call; `run` publishes the reason to media and returns it."""
        if self._ended is None:
            self._ended = EndRequested(reason, detail)
        self._inbox.post(TimerFired())  # wakes the loop

    async def run(self) -> EndReason:
        """Run the call to its end; when this returns, usage is booked, the lease released and the provider closed."""
        writing = asyncio.create_task(self._usage.keep_writing(), name=f"usage {self.facts.id}")
        reason = EndReason.INTERNAL
        self._trace.started()
        try:
            ended = await self._run_until_ended()
            reason = ended.reason
        finally:
            self._trace.ended(self.facts, reason)
            self._usage.close()
            await self._lease.release()
            await writing
        get_logger().info("session_ended", reason=ended.reason, detail=ended.detail)
        return ended.reason

    async def _run_until_ended(self) -> EndRequested:
        ended = EndRequested(EndReason.INTERNAL, "the worker failed")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._provider.keep_open(), name="provider"),
                group.create_task(self._keep_lease(), name="lease"),
                group.create_task(self._run_timer(), name="timer"),
            ]
            try:
                ended = await self._process_inputs()
            finally:
                self._publish_end(ended)
                await self._settle()
                await self._execute(self._core.ended(now=clock.monotonic()))
                for task in tasks:
                    task.cancel()
        return ended

    async def _process_inputs(self) -> EndRequested:
        is_started = False
        while self._ended is None:
            received = await self._inbox.get()
            try:
                if not is_started and not isinstance(received, TimerFired):
                    is_started = True  # now that media knows the call: what is published before is lost
                    await self._execute(self._core.started(now=clock.monotonic()))
                await self._execute(self._commands_for(received))
                await self._handle_client_events()
            except SendQueueFullError:
                self._ended = EndRequested(EndReason.INTERNAL, "the bus does not take the answers")
            except UpstreamUnavailableError as exc:
                self._ended = EndRequested(EndReason.PROVIDER_ERROR, str(exc))
        return self._ended

    def _commands_for(self, received: Input) -> list[SessionCommand]:  # noqa: PLR0911 - one flat case per input
        now = clock.monotonic()
        match received:
            case Frame():
                return self._on_media_frame(received, now)
            case ProviderEvent(event=event):
                return self._core.on_provider_event(event, now=now)
            case ProviderOpened():
                self._trace.provider_opened()
                return self._core.provider_opened(now=now)
            case ProviderLost(reason=reason, detail=detail):
                return self._core.provider_lost(reason, detail, now=now)
            case ProviderReads():
                return []
            case RatesAnswered(ticket=ticket, exceeded=exceeded):
                return self._core.rates_answered(ticket, exceeded, now=now)
            case _:
                return self._on_timer(now)

    async def _handle_client_events(self) -> None:
        """Handle the client's events that wait, as far as the provider takes what follows from them."""
        for _ in range(MAX_EVENTS_AT_ONCE):
            commands = self._up.next_client_event(now=clock.monotonic()) if self._provider.has_room() else None
            if commands is None or self._ended is not None:
                return
            await self._execute(commands)
        self._inbox.post(TimerFired())

    def _on_media_frame(self, frame: Frame, now: float) -> list[SessionCommand]:
        result = self._up.on_frame(frame, now=now)
        if isinstance(result, Ended):
            self._ended = EndRequested(result.reason, result.detail, by_media=True)
            return []
        return result

    def _on_timer(self, now: float) -> list[SessionCommand]:
        if gone := self._media.gone(bus=self._bus.connected, now=now):
            self._ended = EndRequested(EndReason.INTERNAL, _GONE[gone])
            return []
        self._down.on_timer(now=now)
        return self._core.on_timer(now=now)

    async def _execute(self, commands: list[SessionCommand]) -> None:  # noqa: C901 - one flat case per command
        for command in commands:
            match command:
                case PublishEvent() | PublishAudio() | ClearPlayout() | ApplyTurnDetection() | ItemOver() if (
                    self._is_closing
                ):
                    pass
                case SendToProvider() | AppendAudio() | Reconnect():
                    self._provider.queue_command(command)
                case PublishEvent():
                    self._trace.on_server_event(command.event)
                    count_server_event(command.event)
                    self._down.publish_event(command)
                case PublishAudio():
                    self._down.publish_audio(command)
                case ClearPlayout():
                    self._down.clear_playout(command)
                case ApplyTurnDetection():
                    self._down.apply_turn_detection(command)
                case ItemOver():
                    self._down.drop_item(command.item_id)
                case TakeRates():
                    self._take_rates(command)
                case BookUsage():
                    await self._usage.book(command)
                case EndSession():
                    self._ended = EndRequested(command.reason, command.detail)
                case _:
                    self._record(command)

    def _take_rates(self, command: TakeRates) -> None:
        def answered(exceeded: RateExceeded | None) -> None:
            if command.ticket:
                self._inbox.post(RatesAnswered(command.ticket, exceeded))

        self._rates.take(self.facts.tenant, command.charges, answered)

    def _record(self, command: _Recorded) -> None:
        if isinstance(command, CountRateRefusal):
            self._rates.count_refusal(self.facts.tenant, command)
        elif isinstance(command, CountEagerTurn):
            metrics.EAGER_TURNS.labels(command.outcome).inc()
            if command.outcome == "taken_back":
                metrics.TAKEN_BACK.labels(self.facts.provider).inc()
        elif isinstance(command, CountEagerLimit):
            metrics.EAGER_LIMITED.labels(command.limit).inc()
            get_logger().info("eager_turns_limited", reason=command.limit)
        elif isinstance(command, ObserveStage):
            metrics.STAGE_DURATION.labels(command.stage).observe(command.seconds)
            self._trace.on_stage(command, now=clock.monotonic())
        elif isinstance(command, SessionInForce):
            metrics.IN_FORCE_DURATION.observe(command.seconds)
            self._trace.session_in_force()
        elif isinstance(command, CountMissing):
            metrics.MISSING.labels(command.capability).inc()
            get_logger().info("capability_missing", capability=command.capability)
        else:
            metrics.ERRORS.labels(command.kind).inc()
            get_logger().warning("provider_fault", reason=command.kind, detail=command.detail)

    def _publish_end(self, ended: EndRequested) -> None:
        self._is_closing = True
        if ended.by_media:
            return
        try:
            self._down.publish_end(Ended(reason=ended.reason, detail=ended.detail).encode())
        except SendQueueFullError:
            get_logger().warning("end_not_sent", reason="overflow")

    async def _settle(self) -> None:
        """Stop generation and read until the provider has reported its usage, for at most `SETTLE_S`."""
        with contextlib.suppress(TimeoutError, UpstreamUnavailableError):
            async with asyncio.timeout(SETTLE_S):
                await self._execute(self._core.ending(now=clock.monotonic()))
                while not self._core.is_settled(now=clock.monotonic()):
                    received = await self._inbox.get()
                    if isinstance(received, ProviderEvent | ProviderLost):
                        await self._execute(self._commands_for(received))

    async def _keep_lease(self) -> None:
        try:
            await self._lease.keep_renewed()
        except LeaseLostError as exc:
            self.end(EndReason.INTERNAL, f"lease lost: {exc.reason}")

    async def _run_timer(self) -> None:
        while True:
            await asyncio.sleep(TIMER_S)
            if not len(self._inbox) or clock.monotonic() - self._media.active_at > SILENT_S:
                await self._inbox.put(TimerFired())
