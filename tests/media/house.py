"""A pool on a real bus: legs without a network, a worker that the test plays."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY

from services.contracts import subjects
from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.contracts.grant import Grant, Limits
from services.contracts.ids import CallId, LegId, TenantId, new_call_id, new_leg_id
from services.contracts.messages import AnyMessage, Message, Offer, OfferAnswered, expect
from services.contracts.usage import UsageData
from services.media.core.gate import GateConfig
from services.media.history import History
from services.media.leg import BadOfferError, Leg, LegConnected, LegInput, LegOpened, LegOwner, Pace
from services.media.pool import Pool, PoolConfig
from services.media.usage import Meters
from services.runtime import clock
from services.runtime.bus import Bus
from services.runtime.health import Health
from services.runtime.streams import ensure_calls_stream
from services.runtime.tracing import Tracer
from tests.media.worker import PROCESS, Worker

TENANT = TenantId("acme")
LOUD, QUIET = b"\x01" * UP_FRAME_BYTES, bytes(UP_FRAME_BYTES)


class LoudIsSpeech:
    """A detector that a test can steer: any sound is speech."""

    def is_speech(self, frame: PcmFrame) -> bool:
        return any(frame.pcm)


class BrokenDetector:
    """A detector with a bug."""

    def is_speech(self, frame: PcmFrame) -> bool:
        raise ZeroDivisionError(frame.index)


class PlainLeg:
    """A leg without a network."""

    pace: Pace = "gateway"
    receive_delay_ms = 0
    listens = True

    def __init__(self, leg_id: LegId) -> None:
        self.id = leg_id
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.playing = asyncio.Event()
        self.restarts: list[str] = []
        self.hesitates: asyncio.Event | None = None
        self.breaks = False
        self._owner: LegOwner | None = None
        self._early: list[LegInput] = []
        self._spoken = 0

    def attach(self, owner: LegOwner) -> None:
        self._owner = owner
        for item in self._early:
            owner.take(item, now=clock.monotonic())

    def play(self) -> None:
        self.playing.set()

    def send_event(self, text: str) -> None:
        if self.breaks:
            raise RuntimeError("broken")
        self.events.put_nowait(text)

    async def restart(self, sdp: str) -> str:
        self.restarts.append(sdp)
        if self.hesitates is not None:
            await self.hesitates.wait()
        if sdp == "bad":
            raise BadOfferError("not an offer")
        if sdp == "broken":
            raise RuntimeError("a bug")
        return f"restart {len(self.restarts)}: answer to {sdp}"

    async def close(self) -> None:
        self.closed.set()

    def comes(self, item: LegInput) -> None:
        if self._owner is None:
            self._early.append(item)
        else:
            self._owner.take(item, now=clock.monotonic())

    def connect(self) -> None:
        self.comes(LegConnected())
        self.comes(LegOpened())

    def speak(self, drawing: str) -> None:
        for letter in drawing:
            self.comes(PcmFrame(self._spoken, LOUD if letter == "s" else QUIET))
            self._spoken += 1

    async def pull(self) -> bytes | None:
        await self.playing.wait()
        assert self._owner is not None
        pcm = self._owner.pull(now=clock.monotonic())
        if pcm is None:
            self.playing.clear()
        return pcm

    async def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.events.get())
        return event


class Kept:
    """A sink for usage."""

    def __init__(self) -> None:
        self.usage: asyncio.Queue[UsageData] = asyncio.Queue()
        self.full = False
        self.failures = 0

    async def put(self, tenant: TenantId, data: UsageData) -> None:
        assert tenant == TENANT
        if self.full or self.failures:
            self.failures = max(0, self.failures - 1)
            raise OSError("disk full")
        self.usage.put_nowait(data)

    async def settled(self, timeout_s: float) -> bool:
        assert timeout_s > 0
        return True


@dataclass
class House:
    """A pool with all that surrounds it."""

    pool: Pool
    worker: Worker
    bus: Bus
    kept: Kept
    legs: dict[LegId, PlainLeg]
    health: Health

    async def ask(self, offer: Offer) -> AnyMessage:
        return await self.bus.request(subjects.offer(PROCESS), offer, timeout_s=5)

    async def call(self, offer: Offer | None = None) -> tuple[CallId, PlainLeg]:
        offer = offer or an_offer()
        assert isinstance(await self.ask(offer), OfferAnswered)
        leg = self.legs[offer.leg]
        leg.connect()
        return offer.call, leg


def an_offer(**limits: Any) -> Offer:  # noqa: ANN401 - the limits' fields
    grant = Grant(tenant=TENANT, session={"model": "gpt-realtime"}, limits=Limits(**limits), events=("gate",))
    return Offer(call=new_call_id(), leg=new_leg_id(), attempt=1, sdp="v=0", grant=grant)


@asynccontextmanager
async def open_house(
    bus: Bus,
    *,
    capacity: int = 5,
    detector: type = LoudIsSpeech,
    worker: bool = True,
    tracer: Tracer | None = None,
) -> AsyncIterator[House]:
    legs: dict[LegId, PlainLeg] = {}

    async def answerer(leg: LegId, offer: str) -> tuple[Leg, str]:
        if offer == "bad":
            raise BadOfferError("not an offer")
        if offer == "broken":
            raise RuntimeError("a bug")
        legs[leg] = PlainLeg(leg)
        return legs[leg], f"answer to {offer}"

    gate = GateConfig(onset_frames=2, barge_in_onset_frames=2, hangover_frames=5, pre_roll_frames=2, tail_frames=1)
    config = PoolConfig(PROCESS, capacity, gate, detector)
    kept, health = Kept(), Health()
    await ensure_calls_stream(bus.jetstream)
    upstream = Worker(bus)
    if worker:
        await upstream.open()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        meters = Meters(kept, health, pause_s=0.01)
        pool = Pool(
            config,
            bus=bus,
            answerer=answerer,
            history=History(bus),
            meters=meters,
            group=group,
            tracer=tracer or Tracer(),
        )
        await pool.open()
        await bus.flush()
        yield House(pool, upstream, bus, kept, legs, health)
        await pool.close(timeout_s=0.01)


Opener = Callable[..., AbstractAsyncContextManager[House]]


async def record(bus: Bus, subject: str, kind: type[Message]) -> Message:
    subscription = await bus.jetstream.subscribe(subject, ordered_consumer=True)
    try:
        return expect(kind, (await subscription.next_msg(timeout=10)).data)
    finally:
        await subscription.unsubscribe()


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"hushgate_{name}", labels) or 0.0
