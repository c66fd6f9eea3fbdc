"""One call: passes inputs of its leg, the bus and the clock to the core and executes the commands that it returns.

Inputs are handled synchronously and in order; nothing awaits. Commands that follow from executing a command (a leg
that cannot keep up closes) are executed after those that were returned before.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.contracts.frame import MalformedFrameError
from services.contracts.ids import SERVED, LegId
from services.contracts.usage import UsageData
from services.media import metrics
from services.media.call_details import CallDetails
from services.media.core.commands import (
    CallCommand,
    CountDropped,
    CountGateClose,
    CountGateOpen,
    CountJudged,
    CountTurn,
    EndCall,
    SendEvent,
    SendUp,
    SetThreshold,
)
from services.media.core.conversation.conversation import Conversation
from services.media.core.network import rate_limiter
from services.media.core.network.rate_limiter import RateLimiter
from services.media.leg import (
    DiscardingOwner,
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
from services.media.speech_detection import SpeechStream
from services.media.trace import CallTrace
from services.media.worker_link import WorkerLink
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.telemetry import metrics as bus_metrics
from services.runtime.telemetry.logging import get_logger

_ControlInput = LegConnected | LegOpened | LegMessage | LegMeasured | LegLost | LegRecovered | LegClosed
"""All inputs of a leg but frames."""
_DOWN_AGE = bus_metrics.BUS_FRAME_AGE.labels("down")


class Call:
    """One call: the `LegOwner` of the leg that it serves (the first of ``legs``), around its `Conversation`."""

    def __init__(
        self,
        facts: CallDetails,
        *,
        legs: Sequence[Leg],
        conversation: Conversation,
        speech: SpeechStream,
        bus: Bus,
        trace: CallTrace | None = None,
    ) -> None:
        self.facts = facts
        self.trace = trace or CallTrace()
        self.reason: EndReason | None = None
        self.connected = False
        """Whether the client has connected; until then the call is half-open."""
        self.restarts = RateLimiter(rate_limiter.RESTARTS)
        self.worker_subject = subjects.down(facts.process, facts.owner.worker, facts.id)
        """The subject of the call's frames from its worker, the only process that may publish on it."""
        self.legs: dict[LegId, Leg] = {leg.id: leg for leg in legs}
        """The call closes them all when it ends. Nothing is received from, or sent to, any but the served leg."""
        self._served = legs[0]
        self._conversation = conversation
        self._speech = speech
        self._bus = bus
        self._up = WorkerLink(
            bus, subject=subjects.up(facts.owner.worker, facts.process, facts.id), epoch=facts.owner.epoch
        )
        self._todo: deque[CallCommand] = deque()
        self._carrying = False
        self._over = asyncio.Event()
        self._answered_at = clock.monotonic()
        self._usage_seq = 0
        self._waiting_bytes = 0

    async def run(self) -> EndReason:
        """Run the call until it ends; return why. All commands are executed and the legs closed by then."""
        self.on_timer(now=clock.monotonic())  # the worker waits for a first frame
        try:
            try:
                for leg in self.legs.values():
                    leg.attach(self if leg is self._served else DiscardingOwner())
            except Exception:  # noqa: BLE001 - the edge of a task: the worker must be notified
                self._failed("leg")
            await self._over.wait()
        finally:
            for leg in self.legs.values():
                await leg.close()
            self._export_counts()
        return self.reason or EndReason.INTERNAL

    def end(self, reason: EndReason, *, by_worker: bool = False) -> None:
        """End the call; idempotent, only the first reason counts."""
        self._speech.flush()  # what the caller said before the end counts
        if self.reason is None:
            self.reason = reason
            try:
                self._execute_all(self._conversation.end(reason, now=clock.monotonic(), by_worker=by_worker))
            except Exception:  # noqa: BLE001 - whatever state the core is in, the call must end
                get_logger().exception("call_failed", call_id=self.facts.id, stage="end")
            self._over.set()

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        """Handle an input of a leg, see `LegOwner`."""
        if self.reason is not None:
            return
        if isinstance(item, PcmFrame):
            self._speech.submit(item, self, now=now)
        else:
            self._speech.flush()
            self._run_step("leg", lambda: self._handle_leg_input(item, now))

    def on_detected(self, frame: PcmFrame, probability: float, level_dbfs: float, *, now: float) -> None:
        """Pass a frame of the caller, its speech ``probability``, 0 to 1, and its level to the gate."""
        if self.reason is not None:
            return
        try:
            commands = self._conversation.on_caller_frame(
                frame, probability=probability, level_dbfs=level_dbfs, now=now
            )
        except Exception:  # noqa: BLE001 - nothing that comes from outside may end more than this call
            self._failed("leg")
            return
        if commands:
            self._execute_all(commands)
            if self._conversation.down.playout.pullable:  # an answer that was held goes on
                self._served.play()

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        """Return the next 20 ms of playout, or up to ``frames`` times that, see `LegOwner`."""
        try:
            pulled, commands = self._conversation.pull(frames, now=now)
        except Exception:  # noqa: BLE001 - as above
            self._failed("pull")
            return None
        if commands:
            self._execute_all(commands)
        return pulled.pcm if pulled else None

    def on_worker_frame(self, data: bytes) -> None:
        """Handle an encoded frame of the worker; a malformed one is counted and dropped."""
        try:
            frame = frames.decode(data)
        except MalformedFrameError:
            metrics.INPUT_DROPPED.labels("malformed").inc()
            return
        _DOWN_AGE.observe(max(0, clock.unix_ms() - frame.sent_unix_ms) / 1000)
        now = clock.monotonic()
        if frame.epoch == self.facts.owner.epoch:
            self._up.frame_received(frame, now=now)
        self._run_step("worker", lambda: self._conversation.on_worker_frame(frame, now=now))

    def on_timer(self, *, now: float) -> None:
        """Handle what is due as of ``now``; the pool calls it ten times a second."""
        self._run_step("tick", lambda: self._on_timer(now))

    def leg(self, leg: LegId) -> Leg | None:
        """Return the leg with that id, or the served one for `SERVED`; None if the call has no such leg."""
        return next(iter(self.legs.values()), None) if leg == SERVED else self.legs.get(leg)

    def usage(self) -> UsageData:
        """Return the cumulative usage up to now, with the next sequence number."""
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

    def _run_step(self, stage: str, step: Callable[[], list[CallCommand]]) -> None:
        """Pass one input to the core and execute its commands. An error ends this call and no other."""
        try:
            self._execute_all(step())
            if self._conversation.down.playout.pullable:
                self._served.play()
            if self._conversation.waiting_bytes != self._waiting_bytes:
                self._waiting_changed(self._conversation.waiting_bytes)
        except Exception:  # noqa: BLE001 - the edge: the call ends, counted and logged
            self._failed(stage)

    def _waiting_changed(self, size: int) -> None:
        metrics.CLIENT_EVENT_BYTES.inc(size - self._waiting_bytes)
        self._waiting_bytes = size
        self._served.hold_events(size)

    def _on_timer(self, now: float) -> list[CallCommand]:
        self._up.on_timer(now=now)
        return self._conversation.on_timer(now=now, bus=self._bus.connected)

    def _failed(self, stage: str) -> None:
        get_logger().exception("call_failed", call_id=self.facts.id, stage=stage)
        self.end(EndReason.INTERNAL)

    def _handle_leg_input(self, item: _ControlInput, now: float) -> list[CallCommand]:  # noqa: PLR0911 - one for each kind of input
        match item:
            case LegMessage(content=content):
                return self._conversation.on_client_message(content, now=now)
            case LegMeasured(round_trip_ms=round_trip_ms):
                return self._conversation.round_trip_measured(round_trip_ms=round_trip_ms, now=now)
            case LegConnected():
                self.connected = True
                metrics.SETUP_DURATION.labels("connect").observe(now - self._answered_at)
                metrics.SETUP_DURATION.labels("total").observe(now - self.facts.offered_at)
                self.trace.connected(since=self._answered_at, now=now)
                return self._conversation.media_connected()
            case LegOpened():
                return self._conversation.channel_opened()
            case LegLost():
                metrics.LEGS_LOST.inc()
                self.trace.add_event("client_lost")
                get_logger().info("call_lost", call_id=self.facts.id)
                return self._conversation.client_lost(now=now)
            case LegRecovered(how=how, away_s=away_s):
                metrics.LEGS_RECOVERED.labels(how).inc()
                self.trace.add_event("client_recovered")
                get_logger().info("call_recovered", call_id=self.facts.id, how=how, away_s=round(away_s, 3))
                return self._conversation.client_recovered()
            case LegClosed(reason=reason):
                return [EndCall(reason)]

    def _execute_all(self, commands: list[CallCommand]) -> None:
        """Execute commands in order; those added meanwhile follow."""
        self._todo += commands
        if self._carrying:
            return
        self._carrying = True
        while self._todo:
            try:
                self._execute(self._todo.popleft())
            except Exception:  # noqa: BLE001 - go on, so that the end is carried out, too
                self._failed("out")
        self._carrying = False

    def _execute(self, command: CallCommand) -> None:
        match command:
            case SendUp():
                self._up.publish_command(command)
            case SendEvent(text=text):
                self._served.send_event(text)
            case EndCall(reason=reason, by_worker=by_worker):
                self.end(reason, by_worker=by_worker)
            case SetThreshold(threshold=threshold):
                self._speech.set_threshold(threshold)
            case CountDropped(reason=reason):
                (bus_metrics.BUS_DROPPED if reason == "stale_epoch" else metrics.INPUT_DROPPED).labels(reason).inc()
            case CountTurn(latency_s=latency_s):
                owner = self.facts.owner
                metrics.TURN_LATENCY.labels(owner.provider, owner.model).observe(latency_s)
                self.trace.answered(now=clock.monotonic())
            case _:
                self._count_gate(command)

    def _count_gate(self, command: CountGateClose | CountJudged | CountGateOpen) -> None:
        match command:
            case CountGateClose(reason=reason):
                metrics.GATE_CLOSES.labels(reason).inc()
                self.trace.gate_closed(command, now=clock.monotonic())
            case CountJudged(outcome=outcome, held_s=held_s):
                metrics.BARGE_IN_SOUNDS.labels(outcome).inc()
                if held_s is not None:
                    metrics.BARGE_IN_HELD.labels(outcome).observe(held_s)
            case CountGateOpen():
                _count_open(command)
                self.trace.gate_opened(command, now=clock.monotonic())

    def _export_counts(self) -> None:
        metrics.CLIENT_EVENT_BYTES.dec(self._waiting_bytes)
        down = self._conversation.down
        metrics.UNDERRUNS.inc(down.playout.underruns)
        metrics.OVERRUNS.inc(down.playout.overruns)
        metrics.EVENTS_LOST.labels("overflow").inc(down.events.overflowed)
        metrics.EVENTS_LOST.labels("early").inc(down.events.early)
        metrics.INPUT_DROPPED.labels("out_of_sequence").inc(down.events.out_of_sequence)


def _count_open(command: CountGateOpen) -> None:
    metrics.GATE_OPENS.labels(command.cause).inc()
    if command.barge_in_stop_s is not None:
        metrics.BARGE_INS.inc()
        metrics.BARGE_IN_STOP.observe(command.barge_in_stop_s)
        metrics.BARGE_IN_CUT.observe(command.barge_in_cut_s)
