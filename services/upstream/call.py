"""One call that this worker owns: reads bus, provider and clock, hands all of it to the core, carries out its words."""

import asyncio
import contextlib
from dataclasses import dataclass

from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.liveness import SILENT_S, Gone, Liveness
from services.contracts.messages import (
    Ended,
    MalformedMessageError,
    PlayoutReport,
    UtteranceEnd,
    UtteranceStart,
    expect,
)
from services.runtime import clock
from services.runtime import metrics as bus_metrics
from services.runtime.bus import Bus
from services.runtime.delivery import DeliveryFullError
from services.runtime.logging import get_logger
from services.upstream import metrics, uplink
from services.upstream.connectors.base import Connector
from services.upstream.core.commands import (
    AppendAudio,
    BookUsage,
    ClearPlayout,
    Command,
    CountError,
    EndCall,
    ItemOver,
    ObserveStage,
    PublishAudio,
    PublishEvent,
    SendToProvider,
)
from services.upstream.core.response import Report
from services.upstream.core.session import SessionCore
from services.upstream.downlink import Downlink
from services.upstream.errors import UpstreamUnavailableError
from services.upstream.facts import CallFacts
from services.upstream.lease import Lease, LeaseLostError
from services.upstream.line import Line, ProviderGone, ProviderOpened, ProviderSaid
from services.upstream.meters import Meters
from services.upstream.trace import CallTrace
from services.upstream.uplink import Uplink

_GONE: dict[Gone, str] = {"silent": "media is silent", "bus_away": "the bus is away"}
TICK_S = 0.1
MAX_INBOX = 2048
SETTLE_S = 1.5
"""How long the end of a call waits for what the provider has still to bill."""


@dataclass(frozen=True, slots=True)
class _End:
    reason: EndReason
    detail: str = ""
    by_media: bool = False


class _Tick:
    """The clock."""


_Input = Frame | ProviderOpened | ProviderSaid | ProviderGone | _Tick


class Call:
    """Made by the worker for a claim; `run` is its whole life."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        facts: CallFacts,
        *,
        core: SessionCore,
        bus: Bus,
        lease: Lease,
        connector: Connector,
        meters: Meters,
        trace: CallTrace | None = None,
    ) -> None:
        self.facts = facts
        self._core = core
        self._lease = lease
        self._bus = bus
        self._up = Uplink(epoch=lease.epoch)
        self._down = Downlink(bus, call=facts.id, process=facts.process, epoch=lease.epoch)
        self._inbox: asyncio.Queue[_Input] = asyncio.Queue(MAX_INBOX)
        self._line = Line(connector, facts.model, self._inbox)
        self._meters = meters
        self._trace = trace or CallTrace()
        self._media = Liveness(clock.monotonic())
        self._ended: _End | None = None
        self._leaving = False  # nothing goes down any more
        self._is_heard = False

    @property
    def is_held(self) -> bool:
        """A media process carries the call, and it goes on."""
        return self._is_heard and self._ended is None

    def frame(self, data: bytes) -> None:
        """A frame from media."""
        frame = self._up.read(data)
        if frame is None:
            return
        self._is_heard = self._is_heard or frame.kind is not Kind.ENDED  # that alone gives the call back
        self._media.heard(now=clock.monotonic())
        self._put(frame)

    def end(self, reason: EndReason, detail: str = "") -> None:
        """End the call from outside; the media process is told."""
        if self._ended is None:
            self._ended = _End(reason, detail)
        self._put(_Tick())  # wakes the loop

    async def run(self) -> EndReason:
        """Live until the end; everything is closed, booked and given back when this returns."""
        writing = asyncio.create_task(self._meters.keep_writing(), name=f"usage {self.facts.id}")
        reason = EndReason.INTERNAL
        self._trace.started()
        try:
            ended = await self._live()
            reason = ended.reason
        finally:
            self._trace.ended(self.facts, reason)
            self._meters.close()
            await self._lease.release()
            await writing
        get_logger().info("session_ended", reason=ended.reason, detail=ended.detail)
        return ended.reason

    async def _live(self) -> _End:
        ended = _End(EndReason.INTERNAL, "the worker failed")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._line.keep_open(), name="provider"),
                group.create_task(self._keep_lease(), name="lease"),
                group.create_task(self._keep_ticking(), name="tick"),
            ]
            try:
                ended = await self._decide()
            finally:
                self._tell(ended)
                await self._settle()
                await self._carry_out(self._core.ended(now=clock.monotonic()))
                for task in tasks:
                    task.cancel()
        return ended

    async def _decide(self) -> _End:
        await self._carry_out(self._core.started(now=clock.monotonic()))
        while self._ended is None:
            step = await self._inbox.get()
            try:
                await self._carry_out(self._decided(step))
            except DeliveryFullError:
                self._ended = _End(EndReason.INTERNAL, "the bus does not take the answers")
            except UpstreamUnavailableError as exc:
                self._ended = _End(EndReason.PROVIDER_ERROR, str(exc))
        return self._ended

    def _decided(self, step: _Input) -> list[Command]:
        now = clock.monotonic()
        match step:
            case Frame():
                self._down.heard(step, now=now)
                return self._from_media(step, now)
            case ProviderSaid(event=event):
                return self._core.provider_event(event, now=now)
            case ProviderOpened():
                self._trace.provider_opened()
                return self._core.provider_opened(now=now)
            case ProviderGone(reason=reason, detail=detail):
                return self._core.provider_lost(reason, detail, now=now)
            case _:
                return self._ticked(now)

    def _ticked(self, now: float) -> list[Command]:
        if gone := self._media.gone(bus=self._bus.connected, now=now):
            self._ended = _End(EndReason.INTERNAL, _GONE[gone])
            return []
        self._down.tick(now=now)
        return self._core.tick(now=now)

    def _from_media(self, frame: Frame, now: float) -> list[Command]:
        try:
            match frame.kind:
                case Kind.AUDIO_UP:
                    return self._core.audio_up(uplink.audio(frame.payload), now=now)
                case Kind.UTTERANCE_START:
                    expect(UtteranceStart, frame.payload)
                    return self._core.utterance_started(frame.position, now=now)
                case Kind.UTTERANCE_END:
                    return self._utterance_ended(frame, now)
                case Kind.CLIENT_EVENT:
                    event = uplink.parsed(frame.payload)
                    self._trace.client_said(event, now=now)
                    return self._core.client_event(event, now=now)
                case Kind.PLAYOUT_REPORT:
                    return self._reported(frame, now)
                case Kind.ENDED:
                    ended = expect(Ended, frame.payload)
                    self._ended = _End(ended.reason, ended.detail, by_media=True)
                case Kind.ALIVE:
                    pass
                case _:
                    bus_metrics.BUS_DROPPED.labels("wrong_way").inc()
        except MalformedMessageError:
            bus_metrics.BUS_DROPPED.labels("malformed").inc()
        return []

    def _utterance_ended(self, frame: Frame, now: float) -> list[Command]:
        end = expect(UtteranceEnd, frame.payload)
        if end.reason == "hangup":
            return self._core.utterance_abandoned()
        self._trace.utterance_ended(frame.position, now=now)
        return self._core.utterance_ended(frame.position, hangover_ms=end.hangover_ms, now=now)

    def _reported(self, frame: Frame, now: float) -> list[Command]:
        report = expect(PlayoutReport, frame.payload)
        if frame.item_id is None:
            raise MalformedMessageError("a playout report without an item")
        self._down.played(frame.item_id, frame.position)
        known = Report(frame.item_id, frame.position, report.heard_ms, cut=report.cut)
        return self._core.playout_reported(known, by_caller=report.cause == "barge_in", now=now)

    async def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case PublishEvent() | PublishAudio() | ClearPlayout() | ItemOver() if self._leaving:
                    pass
                case SendToProvider() | AppendAudio():
                    self._line.send(command)
                case PublishEvent():
                    self._trace.shown(command.event)
                    self._down.event(command)
                case PublishAudio():
                    self._down.audio(command)
                case ClearPlayout():
                    self._down.clear(command)
                case ItemOver():
                    self._down.over(command.item_id)
                case BookUsage():
                    await self._meters.book(command)
                case EndCall():
                    self._ended = _End(command.reason, command.detail)
                case _:
                    self._note(command)

    def _note(self, command: CountError | ObserveStage) -> None:
        if isinstance(command, ObserveStage):
            metrics.STAGE_DURATION.labels(command.stage).observe(command.seconds)
            self._trace.stage(command, now=clock.monotonic())
            return
        metrics.ERRORS.labels(command.kind).inc()
        get_logger().warning("provider_fault", reason=command.kind, detail=command.detail)

    def _tell(self, ended: _End) -> None:
        self._leaving = True
        if ended.by_media:
            return
        try:
            self._down.ended(Ended(reason=ended.reason, detail=ended.detail).encode())
        except DeliveryFullError:
            get_logger().warning("end_not_told", reason="overflow")

    async def _settle(self) -> None:
        """Stop what the provider is making and read on until it has said what that used, but not for long."""
        with contextlib.suppress(TimeoutError, UpstreamUnavailableError):
            async with asyncio.timeout(SETTLE_S):
                await self._carry_out(self._core.leaving(now=clock.monotonic()))
                while not self._core.is_settled(now=clock.monotonic()):
                    step = await self._inbox.get()
                    if isinstance(step, ProviderSaid | ProviderGone):
                        await self._carry_out(self._decided(step))

    async def _keep_lease(self) -> None:
        try:
            await self._lease.keep()
        except LeaseLostError as exc:
            self.end(EndReason.INTERNAL, f"lease lost: {exc.reason}")

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._inbox.empty() or clock.monotonic() - self._media.heard_at > SILENT_S:
                await self._inbox.put(_Tick())

    def _put(self, step: _Input) -> None:
        try:
            self._inbox.put_nowait(step)
        except asyncio.QueueFull:
            bus_metrics.BUS_DROPPED.labels("inbox").inc()
