"""One call: reads its leg and the bus, hands all to the core, carries out what that decides.

Inputs are handled where they arrive, at once; outputs go through one queue and one task, so that they keep their order.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind, MalformedFrameError
from services.contracts.ids import CallId, ProcessId, TenantId
from services.contracts.messages import CallEnded, CallStarted, ClaimGranted
from services.contracts.usage import UsageData
from services.media import metrics
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
from services.media.leg import Leg, LegClosed, LegConnected, LegInput, LegMeasured, LegMessage, LegOpened
from services.runtime import clock
from services.runtime import metrics as bus_metrics
from services.runtime.bus import Bus
from services.runtime.logging import get_logger

TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What does not change while a call lasts."""

    id: CallId
    tenant: TenantId
    process: ProcessId
    owner: ClaimGranted
    started_unix_ms: int

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
    """One call with its leg. It is the leg's `PlayoutSource`."""

    def __init__(self, facts: CallFacts, *, leg: Leg, conversation: Conversation, detector: Detector, bus: Bus) -> None:
        self.facts = facts
        self.reason: EndReason | None = None
        self._leg = leg
        self._conversation = conversation
        self._detector = detector
        self._bus = bus
        self._subject = subjects.up(facts.owner.worker, facts.id)
        self._todo: deque[Command] = deque()
        self._work = asyncio.Event()
        self._over = asyncio.Event()
        self._playable = asyncio.Event()
        self._answered_at = clock.monotonic()
        self._usage_seq = 0

    async def run(self) -> EndReason:
        """Carry the call until it ends; returns why. The leg is closed then."""
        self._leg.play(self)
        try:
            async with asyncio.TaskGroup() as group:
                inputs = [group.create_task(self._receive(), name="in"), group.create_task(self._tick(), name="tick")]
                group.create_task(self._carry(), name="out")
                await self._over.wait()
                for task in inputs:
                    task.cancel()
        finally:
            await self._leg.close()
            self._export_counts()
        return self.reason or EndReason.INTERNAL

    def end(self, reason: EndReason, *, by_worker: bool = False) -> None:
        """End the call; only the first reason counts."""
        if self.reason is None:
            self.reason = reason
            try:
                self._todo.extend(self._conversation.end(reason, now=clock.monotonic(), by_worker=by_worker))
            except Exception:  # noqa: BLE001 - whatever state the core is in, the call must end
                get_logger().exception("call_failed", call_id=self.facts.id, stage="end")
            self._over.set()
            self._work.set()

    def worker_frame(self, data: bytes) -> None:
        """A frame for this call came from the bus."""
        try:
            frame = frames.decode(data)
        except MalformedFrameError:
            metrics.INPUT_DROPPED.labels("malformed").inc()
            return
        bus_metrics.BUS_FRAME_AGE.labels("down").observe(max(0, clock.unix_ms() - frame.sent_unix_ms) / 1000)
        self._feed("worker", lambda now: self._conversation.worker_frame(frame, now=now))

    async def playable(self) -> None:
        """Wait until there is something to play."""
        await self._playable.wait()

    def pull(self) -> bytes | None:
        """The next 20 ms of what plays."""
        pcm: bytes | None = None

        def pull(now: float) -> list[Command]:
            nonlocal pcm
            pulled, commands = self._conversation.pull(now=now)
            pcm = pulled.pcm if pulled else None
            return commands

        self._feed("pull", pull)
        if pcm is None:
            self._playable.clear()
        return pcm

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
            meters=self._conversation.meters(now=clock.monotonic()),
        )

    def _feed(self, stage: str, step: Callable[[float], Iterable[Command]]) -> None:
        """Hand one input to the core. Nothing that comes from outside may end more than this call."""
        try:
            self._todo.extend(step(clock.monotonic()))
        except Exception:  # noqa: BLE001 - the edge: the call ends, counted and logged
            get_logger().exception("call_failed", call_id=self.facts.id, stage=stage)
            self.end(EndReason.INTERNAL)
        if self._conversation.down.playout.pullable:
            self._playable.set()
        if self._todo:
            self._work.set()

    async def _receive(self) -> None:
        try:
            async for item in self._leg.received():
                self._feed("leg", lambda now, item=item: self._take(item, now))  # type: ignore[misc]
        except Exception:  # noqa: BLE001 - the edge of a task
            get_logger().exception("call_failed", call_id=self.facts.id, stage="leg")
            self.end(EndReason.INTERNAL)
        self.end(EndReason.CLIENT_GONE)

    def _take(self, item: LegInput, now: float) -> list[Command]:
        match item:
            case PcmFrame():
                return self._conversation.caller_frame(item, speech=self._detector.is_speech(item), now=now)
            case LegMessage(content=content):
                return self._conversation.client_message(content, now=now)
            case LegConnected():
                metrics.SETUP_DURATION.labels("connect").observe(now - self._answered_at)
                return self._conversation.connected()
            case LegOpened():
                return self._conversation.opened()
            case LegMeasured(round_trip_ms=round_trip_ms):
                self._conversation.down.ear.measured(round_trip_ms=round_trip_ms)
                return []
            case LegClosed(reason=reason):
                return [EndCall(reason)]

    async def _tick(self) -> None:
        while True:
            self._feed("tick", lambda now: self._conversation.tick(now=now))
            await asyncio.sleep(TICK_S)

    async def _carry(self) -> None:
        while not (self._over.is_set() and not self._todo):
            await self._work.wait()
            self._work.clear()
            while self._todo:
                try:
                    await self._carry_out(self._todo.popleft())
                except Exception:  # noqa: BLE001 - the edge of a task: go on, so that the end is carried out, too
                    get_logger().exception("call_failed", call_id=self.facts.id, stage="out")
                    self.end(EndReason.INTERNAL)

    async def _carry_out(self, command: Command) -> None:
        match command:
            case SendUp():
                await self._send_up(command)
            case SendEvent(text=text):
                self._leg.send_event(text)
            case EndCall(reason=reason, by_worker=by_worker):
                self.end(reason, by_worker=by_worker)
            case CountDropped(reason=reason):
                (bus_metrics.BUS_DROPPED if reason == "stale_epoch" else metrics.INPUT_DROPPED).labels(reason).inc()
            case CountTurn(latency_s=latency_s):
                owner = self.facts.owner
                metrics.TURN_LATENCY.labels(owner.provider, owner.model).observe(latency_s)
            case CountGateClose(reason=reason):
                metrics.GATE_CLOSES.labels(reason).inc()
            case CountGateOpen():
                _count_open(command)

    async def _send_up(self, command: SendUp) -> None:
        frame = Frame(
            command.kind,
            self.facts.owner.epoch,
            command.position,
            clock.unix_ms(),
            command.item_id,
            command.flags,
            command.payload,
        )
        send = self._bus.send_audio if command.kind is Kind.AUDIO_UP else self._bus.send
        await send(self._subject, frames.encode(frame))

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
