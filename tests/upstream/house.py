"""A worker over a real nats-server with a provider behind a real WebSocket; the test plays media."""

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
from services.contracts.frame import NO_FLAGS, Frame, Kind, decode_server_event
from services.contracts.grant import Grant
from services.contracts.ids import CallId, ItemId, ProcessId, TenantId, WorkerId
from services.contracts.messages import (
    Claim,
    ClaimGranted,
    Message,
    PlayoutReport,
    UtteranceEnd,
    UtteranceStart,
)
from services.contracts.usage import Meter, UsageData
from services.runtime import clock
from services.runtime.bus import Bus
from services.runtime.errors import HushgateError
from services.runtime.health import Health
from services.runtime.streams import leases_bucket
from services.runtime.tracing import Tracer
from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.lease import LeaseTiming
from services.upstream.worker import Worker, WorkerConfig
from tests.upstream.provider import Heard, Provider, running

CALL = CallId("rtc_" + "a" * 26)
OTHER = CallId("rtc_" + "b" * 26)
MEDIA = ProcessId("media-0")
WORKER = WorkerId("upstream-0")
Json = dict[str, JsonValue]


@dataclass
class Kept:
    """An outbox that a test can read, and break."""

    events: list[tuple[TenantId, UsageData]] = field(default_factory=list)
    failures: int = 0

    async def put(self, tenant: TenantId, data: UsageData) -> None:
        if self.failures:
            self.failures -= 1
            raise HushgateError("the disk is full")
        self.events.append((tenant, data))

    def latest(self, meter: Meter) -> int:
        return max((d.meters[meter] for _, d in self.events if meter in d.meters), default=-1)


@dataclass
class Media:
    """Media's side of one call."""

    bus: Bus
    granted: ClaimGranted
    call: CallId
    got: deque[Frame] = field(default_factory=deque)
    all: list[Frame] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    index: int = 0

    async def send(self, kind: Kind, payload: bytes = b"", *, position: int = 0, item: ItemId | None = None) -> bytes:
        """Send a frame; gives what went over the bus."""
        frame = Frame(kind, self.granted.epoch, position, clock.unix_ms(), item, NO_FLAGS, payload)
        data = frames.encode(frame)
        await self.bus.send(subjects.up(self.granted.worker, MEDIA, self.call), data)
        return data

    async def send_again(self, data: bytes) -> None:
        await self.bus.send(subjects.up(self.granted.worker, MEDIA, self.call), frames.said_again(data))

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
        """The next frame that is ``wanted``; those before it are passed over."""
        async with asyncio.timeout(10), self.news:
            while True:
                while self.got:
                    frame = self.got.popleft()
                    if wanted(frame):
                        return frame
                await self.news.wait()

    async def event(self, kind: str) -> tuple[Frame, Json]:
        frame = await self.until(lambda f: f.kind is Kind.SERVER_EVENT and body(f)["type"] == kind)
        return frame, body(frame)

    async def kind(self, kind: Kind) -> Frame:
        return await self.until(lambda f: f.kind is kind)


def body(frame: Frame) -> Json:
    event: Json = json.loads(decode_server_event(frame.payload)[1])
    return event


@dataclass
class House:
    """A running worker with its surroundings."""

    bus: Bus
    worker: Worker
    provider: Provider
    usage: Kept
    leases: KeyValue
    health: Health

    async def ask(self, call: CallId = CALL, changed: dict[str, object] | None = None) -> Message:
        grant = Grant(tenant=TenantId("acme"), session={"model": "gpt-realtime-2.1"})
        claim = Claim(call=call, process=MEDIA, grant=grant, deadline_unix_ms=clock.unix_ms() + 1500)
        return await self.bus.request(subjects.claim(MEDIA), claim.model_copy(update=changed or {}), timeout_s=5)

    async def call(self, call: CallId = CALL) -> Media:
        """A granted call whose media listens and has said that it is there."""
        media = await self.silent(call)
        await media.send(Kind.ALIVE)
        return media

    async def silent(self, call: CallId = CALL) -> Media:
        got: deque[Frame] = deque()
        every: list[Frame] = []
        news = asyncio.Condition()
        pending: set[asyncio.Task[None]] = set()

        async def take(frame: Frame) -> None:
            async with news:
                got.append(frame)
                every.append(frame)
                news.notify_all()

        def receive(_: str, data: bytes) -> None:
            task = asyncio.create_task(take(frames.decode(data)))
            pending.add(task)
            task.add_done_callback(pending.discard)

        await self.bus.listen(subjects.down(MEDIA, WORKER, call), receive)
        granted = await self.ask(call)
        assert isinstance(granted, ClaimGranted)
        return Media(self.bus, granted, call, got, every, news)

    async def gone(self, call: CallId = CALL) -> None:
        """Wait until the lease was given back."""

        async def is_gone() -> bool:
            try:
                await self.leases.get(call)
            except KeyNotFoundError:
                return True
            return False

        await eventually(is_gone)


async def eventually(happened: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what tells nobody that it happened: a key that is gone, a task of the worker's own."""
    async with asyncio.timeout(10):
        while not await happened():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def house(
    bus: Bus,
    provider: Provider,
    *,
    capacity: int = 10,
    lease: LeaseTiming | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[House]:
    usage, health = Kept(), Health()
    leases = await leases_bucket(bus.jetstream)
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
            connector=OpenAIConnector(provider.url, SecretStr("sk-test")),
            sink=usage,
            health=health,
            group=group,
            tracer=tracer or Tracer(),
        )
        await worker.open()
        yield House(bus, worker, provider, usage, leases, health)
        await worker.close(timeout_s=0.01)


async def told(provider: Provider, number: int = 1) -> Heard:
    """The provider's session once it is set up."""
    heard = await provider.session(number)
    await heard.until("session.update")
    return heard


def claim_of(call: CallId) -> Claim:
    grant = Grant(tenant=TenantId("acme"), session={})
    return Claim(call=call, process=MEDIA, grant=grant, deadline_unix_ms=clock.unix_ms() + 1000)
