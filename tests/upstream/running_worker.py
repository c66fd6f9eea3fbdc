"""A worker over a real nats-server with a provider behind a real WebSocket; the test acts as media."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue
from pydantic import JsonValue, SecretStr

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, decode_server_event
from services.contracts.grant import Grant
from services.contracts.ids import CallId, ItemId, ProcessId, TenantId, WorkerId
from services.contracts.message import Message
from services.contracts.messages import Claim, ClaimGranted, PlayoutReport, UtteranceEnd, UtteranceStart
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import leases_bucket, rates_bucket
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.process.health import Health
from services.runtime.telemetry.tracing import Tracer
from services.upstream import metrics
from services.upstream.connectors.base import Connector
from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.lease import LeaseTiming
from services.upstream.tenant_rates import TenantRates
from services.upstream.worker import Worker, WorkerConfig
from tests.upstream.provider import ProviderSession, ScriptedProvider, running
from tests.usage_sink import RecordedUsage

CALL = CallId("rtc_" + "a" * 26)
OTHER = CallId("rtc_" + "b" * 26)
MEDIA = ProcessId("media-0")
WORKER = WorkerId("upstream-0")
Json = dict[str, JsonValue]


@dataclass
class MediaSide:
    """Media's side of one call: sends its frames and records those of the worker."""

    bus: Bus
    granted: ClaimGranted
    call: CallId
    got: deque[Frame] = field(default_factory=deque)
    all: list[Frame] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    index: int = 0

    async def send(
        self,
        kind: Kind,
        payload: bytes = b"",
        *,
        position: int = 0,
        item: ItemId | None = None,
        flags: Flag = NO_FLAGS,
    ) -> bytes:
        """Send a frame; return its encoded form."""
        frame = Frame(kind, self.granted.epoch, position, clock.unix_ms(), item, flags, payload)
        data = frames.encode(frame)
        await self.bus.publish_bytes(subjects.up(self.granted.worker, MEDIA, self.call), data)
        return data

    async def send_again(self, data: bytes) -> None:
        await self.bus.publish_bytes(subjects.up(self.granted.worker, MEDIA, self.call), frames.mark_resent(data))

    async def utter(self, ms: int) -> None:
        start = UtteranceStart(cause="speech", onset_index=self.index)
        await self.send(Kind.UTTERANCE_START, start.encode(), position=self.index)
        for _ in range(ms // 40):
            await self.send(Kind.AUDIO_UP, bytes(1280), position=self.index)
            self.index += 2
        end = UtteranceEnd(reason="speech_end", speech_end_index=self.index)
        await self.send(Kind.UTTERANCE_END, end.encode(), position=self.index)

    async def report(self, item: ItemId, *, ms: int, cut: bool = False) -> None:
        report = PlayoutReport(heard_ms=ms, cut=cut, cause="barge_in" if cut else None)
        await self.send(Kind.PLAYOUT_REPORT, report.encode(), position=ms * 24, item=item)

    async def until(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Wait for the next frame that is ``wanted``; skip those before it."""
        async with asyncio.timeout(10), self.changed:
            while True:
                while self.got:
                    frame = self.got.popleft()
                    if wanted(frame):
                        return frame
                await self.changed.wait()

    async def event(self, kind: str) -> tuple[Frame, Json]:
        frame = await self.until(lambda f: f.kind is Kind.SERVER_EVENT and body(f)["type"] == kind)
        return frame, body(frame)

    async def kind(self, kind: Kind) -> Frame:
        return await self.until(lambda f: f.kind is kind)


def body(frame: Frame) -> Json:
    event: Json = json.loads(decode_server_event(frame.payload)[1])
    return event


@dataclass
class RunningWorker:
    """A running worker, with the provider, bus and outbox that it uses."""

    bus: Bus
    worker: Worker
    provider: ScriptedProvider
    usage: RecordedUsage
    leases: KeyValue
    health: Health

    async def claim(self, call: CallId = CALL, changed: dict[str, object] | None = None) -> Message:
        grant = Grant(tenant=TenantId("acme"), session={"model": "gpt-realtime-2.1"})
        claim = Claim(call=call, process=MEDIA, grant=grant, deadline_unix_ms=clock.unix_ms() + 1500)
        return await self.bus.request(subjects.claim(MEDIA), claim.model_copy(update=changed or {}), timeout_s=5)

    async def call(self, call: CallId = CALL, grant: Grant | None = None) -> MediaSide:
        """Return a granted call whose media is subscribed and has sent a keepalive."""
        media = await self.call_without_frames(call, {"grant": grant} if grant else None)
        await media.send(Kind.ALIVE)
        return media

    async def call_without_frames(self, call: CallId = CALL, claimed: dict[str, object] | None = None) -> MediaSide:
        got: deque[Frame] = deque()
        every: list[Frame] = []
        changed = asyncio.Condition()
        pending: set[asyncio.Task[None]] = set()

        async def store(frame: Frame) -> None:
            async with changed:
                got.append(frame)
                every.append(frame)
                changed.notify_all()

        def receive(_: str, data: bytes) -> None:
            task = asyncio.create_task(store(frames.decode(data)))
            pending.add(task)
            task.add_done_callback(pending.discard)

        await self.bus.subscribe(subjects.down(MEDIA, WORKER, call), receive)
        granted = await self.claim(call, claimed)
        assert isinstance(granted, ClaimGranted)
        return MediaSide(self.bus, granted, call, got, every, changed)

    async def wait_for_release(self, call: CallId = CALL) -> None:
        """Wait until the lease is released."""

        async def is_released() -> bool:
            try:
                await self.leases.get(call)
            except KeyNotFoundError:
                return True
            return False

        await eventually(is_released)


async def eventually(happened: Callable[[], Awaitable[bool]]) -> None:
    """Poll for what causes no event: a deleted key, an internal task of the worker."""
    async with asyncio.timeout(10):
        while not await happened():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running_worker(
    bus: Bus,
    provider: ScriptedProvider,
    *,
    capacity: int = 10,
    lease: LeaseTiming | None = None,
    tracer: Tracer | None = None,
    connector: Connector | None = None,
) -> AsyncIterator[RunningWorker]:
    usage, health = RecordedUsage(), Health()
    leases, rates = await leases_bucket(bus.jetstream), await rates_bucket(bus.jetstream)
    async with running(provider), asyncio.TaskGroup() as group:
        worker = Worker(
            WorkerConfig(
                worker=WORKER,
                provider="rehearsal",
                model="gpt-realtime-2.1",
                capacity=capacity,
                lease=lease or LeaseTiming(),
            ),
            bus=bus,
            leases=leases,
            connector=connector or OpenAIConnector(provider.url, SecretStr("sk-test")),
            usage=UsageWriter(usage, health, failures=metrics.USAGE_FAILED),
            group=group,
            rates=TenantRates(rates, group),
            tracer=tracer or Tracer(),
        )
        await worker.start()
        yield RunningWorker(bus, worker, provider, usage, leases, health)
        await worker.close(timeout_s=0.01)


async def configured_session(provider: ScriptedProvider, number: int = 1) -> ProviderSession:
    """Return the provider's session once it has got its configuration."""
    provider_session = await provider.session(number)
    await provider_session.until("session.update")
    return provider_session


def claim_of(call: CallId) -> Claim:
    grant = Grant(tenant=TenantId("acme"), session={})
    return Claim(call=call, process=MEDIA, grant=grant, deadline_unix_ms=clock.unix_ms() + 1000)
