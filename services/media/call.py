"""One call: hands what comes from its leg, the bus and the clock to the core and carries out what that decides.

All of it happens where the input arrives, at once and in order; nothing waits. What an output causes in turn (a leg
that cannot keep up closes) is carried out after what was decided before it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.contracts.frame import MalformedFrameError
from services.contracts.ids import CallId, ProcessId, TenantId
from services.contracts.messages import CallEnded, CallStarted, ClaimGranted
from services.contracts.usage import UsageData
from services.media import metrics
from services.media.core import police
from services.media.core.commands import (
    Command,
    CountDropped,
    CountGateClose,
    CountGateOpen,
    CountTurn,
    EndCall,
    SendEvent,
    SendUp,
)
from services.media.core.conversation import Conversation
from services.media.core.detector import Detector
from services.media.core.police import Police
from services.media.leg import (
    Leg,
    LegClosed,
    LegConnected,
    LegInput,
    LegLost,
    LegMeasured,
    LegMessage,
    LegOpened,
    LegRecovered,
)
from services.media.trace import CallTrace
from services.media.uppath import UpPath
from services.runtime import clock
from services.runtime import metrics as bus_metrics
from services.runtime.bus import Bus
from services.runtime.logging import get_logger

_Rare = LegConnected | LegOpened | LegMessage | LegMeasured | LegLost | LegRecovered | LegClosed
"""All that comes from a leg but frames."""
_DOWN_AGE = bus_metrics.BUS_FRAME_AGE.labels("down")


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What does not change while a call lasts."""

    id: CallId
    tenant: TenantId
    process: ProcessId
    owner: ClaimGranted
    started_unix_ms: int
    offered_at: float
    """When the offer came, in monotonic seconds."""

    def started(self) -> CallStarted:
        """The history's first line."""
        return CallStarted(
            call=self.id,
            tenant=self.tenant,
            process=self.process,
            provider=self.owner.provider,
            model=self.owner.model,
            started_unix_ms=self.started_unix_ms,
        )

    def ended(self, reason: EndReason) -> CallEnded:
        """The history's last line."""
        started = self.started().model_dump(exclude={"type"})
        return CallEnded(**started, reason=reason, ended_unix_ms=clock.unix_ms())


class Call:
    """One call with its leg, whose owner it is."""

    def __init__(
        self,
        facts: CallFacts,
        *,
        leg: Leg,
        conversation: Conversation,
        detector: Detector,
        bus: Bus,
        trace: CallTrace | None = None,
    ) -> None:
        self.facts = facts
        self.trace = trace or CallTrace()
        self.reason: EndReason | None = None
        self.restarts = Police(police.RESTARTS)
        self.worker_subject = subjects.down(facts.process, facts.owner.worker, facts.id)
        """Where its worker, and nobody else, may send its frames."""
        self._leg = leg
        self._conversation = conversation
        self._detector = detector
        self._bus = bus
        self._up = UpPath(
            bus, subject=subjects.up(facts.owner.worker, facts.process, facts.id), epoch=facts.owner.epoch
        )
        self._todo: deque[Command] = deque()
        self._carrying = False
        self._over = asyncio.Event()
        self._answered_at = clock.monotonic()
        self._usage_seq = 0

    async def run(self) -> EndReason:
        """Carry the call until it ends; returns why. All is carried out and the leg is closed then."""
        self.tick(now=clock.monotonic())  # the worker waits for a first sign of life
        try:
            try:
                self._leg.attach(self)
            except Exception:  # noqa: BLE001 - the edge of a task: the worker must hear of it
                self._failed("leg")
            await self._over.wait()
        finally:
            await self._leg.close()
            self._export_counts()
        return self.reason or EndReason.INTERNAL

    def end(self, reason: EndReason, *, by_worker: bool = False) -> None:
        """End the call; only the first reason counts."""
        if self.reason is None:
            self.reason = reason
            try:
                self._do(self._conversation.end(reason, now=clock.monotonic(), by_worker=by_worker))
            except Exception:  # noqa: BLE001 - whatever state the core is in, the call must end
                get_logger().exception("call_failed", call_id=self.facts.id, stage="end")
            self._over.set()

    def take(self, item: LegInput, *, now: float) -> None:
        """Something came from the client."""
        if self.reason is not None:
            return
        if isinstance(item, PcmFrame):
            try:
                speech = self._detector.is_speech(item)
                commands = self._conversation.caller_frame(item, speech=speech, now=now)
            except Exception:  # noqa: BLE001 - nothing that comes from outside may end more than this call
                self._failed("leg")
                return
            if commands:
                self._do(commands)
        else:
            self._feed("leg", lambda: self._heard(item, now))

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        """The next 20 ms of what plays, or up to ``frames`` times that."""
        try:
            pulled, commands = self._conversation.pull(frames, now=now)
        except Exception:  # noqa: BLE001 - as above
            self._failed("pull")
            return None
        if commands:
            self._do(commands)
        return pulled.pcm if pulled else None

    def worker_frame(self, data: bytes) -> None:
        """A frame for this call came from the bus."""
        try:
            frame = frames.decode(data)
        except MalformedFrameError:
            metrics.INPUT_DROPPED.labels("malformed").inc()
            return
        _DOWN_AGE.observe(max(0, clock.unix_ms() - frame.sent_unix_ms) / 1000)
        now = clock.monotonic()
        if frame.epoch == self.facts.owner.epoch:
            self._up.heard(frame, now=now)
        self._feed("worker", lambda: self._conversation.worker_frame(frame, now=now))

    def tick(self, *, now: float) -> None:
        """Time passes; the pool says so ten times a second."""
        self._feed("tick", lambda: self._tick(now))

    async def restart(self, sdp: str) -> str:
        """Let the leg answer a new offer of its client.

        Raises:
            BadOfferError: the offer is to blame.
        """
        return await self._leg.restart(sdp)

    def usage(self) -> UsageData:
        """Cumulative usage up to now."""
        self._usage_seq += 1
        owner = self.facts.owner
        return UsageData(
            call_id=self.facts.id,
            session_id=owner.session,
            epoch=owner.epoch,
            seq=self._usage_seq,
            provider=owner.provider,
            model=owner.model,
            worker=owner.worker,
            meters=self._conversation.meters(now=clock.monotonic()),
        )

    def _feed(self, stage: str, step: Callable[[], list[Command]]) -> None:
        """Hand one input to the core. Nothing that comes from outside may end more than this call."""
        try:
            self._do(step())
            if self._conversation.down.playout.pullable:
                self._leg.play()
        except Exception:  # noqa: BLE001 - the edge: the call ends, counted and logged
            self._failed(stage)

    def _tick(self, now: float) -> list[Command]:
        self._up.tick(now=now)
        return self._conversation.tick(now=now, bus=self._bus.connected)

    def _failed(self, stage: str) -> None:
        get_logger().exception("call_failed", call_id=self.facts.id, stage=stage)
        self.end(EndReason.INTERNAL)

    def _heard(self, item: _Rare, now: float) -> list[Command]:  # noqa: PLR0911 - one for each kind of input
        match item:
            case LegMessage(content=content):
                return self._conversation.client_message(content, now=now)
            case LegMeasured(round_trip_ms=round_trip_ms):
                return self._conversation.measured(round_trip_ms=round_trip_ms, now=now)
            case LegConnected():
                metrics.SETUP_DURATION.labels("connect").observe(now - self._answered_at)
                metrics.SETUP_DURATION.labels("total").observe(now - self.facts.offered_at)
                self.trace.connected(since=self._answered_at, now=now)
                return self._conversation.connected()
            case LegOpened():
                return self._conversation.opened()
            case LegLost():
                metrics.LEGS_LOST.inc()
                self.trace.event("client_lost")
                get_logger().info("call_lost", call_id=self.facts.id)
                return self._conversation.lost(now=now)
            case LegRecovered(how=how, away_s=away_s):
                metrics.LEGS_RECOVERED.labels(how).inc()
                self.trace.event("client_recovered")
                get_logger().info("call_recovered", call_id=self.facts.id, how=how, away_s=round(away_s, 3))
                return self._conversation.recovered()
            case LegClosed(reason=reason):
                return [EndCall(reason)]

    def _do(self, commands: list[Command]) -> None:
        """Carry out in order; what comes while that happens follows."""
        self._todo += commands
        if self._carrying:
            return
        self._carrying = True
        while self._todo:
            try:
                self._carry_out(self._todo.popleft())
            except Exception:  # noqa: BLE001 - go on, so that the end is carried out, too
                self._failed("out")
        self._carrying = False

    def _carry_out(self, command: Command) -> None:
        match command:
            case SendUp():
                self._up.send(command)
            case SendEvent(text=text):
                self._leg.send_event(text)
            case EndCall(reason=reason, by_worker=by_worker):
                self.end(reason, by_worker=by_worker)
            case CountDropped(reason=reason):
                (bus_metrics.BUS_DROPPED if reason == "stale_epoch" else metrics.INPUT_DROPPED).labels(reason).inc()
            case CountTurn(latency_s=latency_s):
                owner = self.facts.owner
                metrics.TURN_LATENCY.labels(owner.provider, owner.model).observe(latency_s)
                self.trace.answered(now=clock.monotonic())
            case CountGateClose(reason=reason):
                metrics.GATE_CLOSES.labels(reason).inc()
                self.trace.gate_closed(command, now=clock.monotonic())
            case CountGateOpen():
                _count_open(command)
                self.trace.gate_opened(command, now=clock.monotonic())

    def _export_counts(self) -> None:
        down = self._conversation.down
        metrics.UNDERRUNS.inc(down.playout.underruns)
        metrics.OVERRUNS.inc(down.playout.overruns)
        metrics.EVENTS_LOST.labels("overflow").inc(down.events.overflowed)
        metrics.INPUT_DROPPED.labels("out_of_sequence").inc(down.events.out_of_sequence)


def _count_open(command: CountGateOpen) -> None:
    metrics.GATE_OPENS.labels(command.cause).inc()
    if command.barge_in_stop_s is not None:
        metrics.BARGE_INS.inc()
        metrics.BARGE_IN_STOP.observe(command.barge_in_stop_s)
