"""A pool on a real bus, with legs without a network and a simulated worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY

from services.contracts import subjects
from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.contracts.connect import WEBRTC, LegAnswer, LegOffer, WebRtcAnswer, WebRtcOffer
from services.contracts.grant import Grant, Limits
from services.contracts.ids import CallId, LegId, TenantId, new_call_id, new_leg_id
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Offer, OfferAnswered, expect
from services.contracts.turn_detection import TurnTerms
from services.media import metrics
from services.media.call_records import CallRecords
from services.media.core.speech.detector import Unbatched
from services.media.core.speech.gate_config import GateConfig
from services.media.leg import Answerer, BadOfferError, Leg, LegConnected, LegInput, LegOpened, LegOwner, PacedBy
from services.media.pool import Pool, PoolConfig
from services.media.speech_detection import SpeechDetection
from services.media.usage import UsageReporter
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import ensure_calls_stream
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.process.health import Health
from services.runtime.telemetry.tracing import Tracer
from tests.media.worker import PROCESS, StubWorker
from tests.usage_sink import RecordedUsage

TENANT = TenantId("acme")
LOUD, QUIET = b"\x01" * UP_FRAME_BYTES, bytes(UP_FRAME_BYTES)


class LoudIsSpeech:
    """A detector that classifies any nonzero sample as speech."""

    def set_threshold(self, threshold: float) -> None:
        """Grade nothing."""

    def probability(self, frame: PcmFrame) -> float:
        return float(any(frame.pcm))


class BrokenDetector:
    """A detector that raises."""

    def set_threshold(self, threshold: float) -> None:
        """Grade nothing."""

    def probability(self, frame: PcmFrame) -> float:
        raise ZeroDivisionError(frame.index)


class PlainLeg:
    """A leg without a network."""

    pace: PacedBy = "gateway"
    receive_delay_ms = 0
    receives_audio = True

    def __init__(self, leg_id: LegId) -> None:
        self.id = leg_id
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.playing = asyncio.Event()
        self.restarts: list[str] = []
        self.hold: asyncio.Event | None = None
        self.send_fails = False
        self.waiting_bytes = 0
        self._owner: LegOwner | None = None
        self._early: list[LegInput] = []
        self._spoken = 0

    def attach(self, owner: LegOwner) -> None:
        self._owner = owner
        for item in self._early:
            owner.on_leg_input(item, now=clock.monotonic())

    def play(self) -> None:
        self.playing.set()

    def send_event(self, text: str) -> None:
        if self.send_fails:
            raise RuntimeError("broken")
        self.events.put_nowait(text)

    def hold_events(self, waiting_bytes: int) -> None:
        self.waiting_bytes = waiting_bytes

    async def restart(self, offer: LegOffer) -> WebRtcAnswer:
        assert isinstance(offer, WebRtcOffer)
        sdp = offer.sdp
        self.restarts.append(sdp)
        if self.hold is not None:
            await self.hold.wait()
        if sdp == "bad":
            raise BadOfferError("not an offer")
        if sdp == "broken":
            raise RuntimeError("a bug")
        return WebRtcAnswer(sdp=f"restart {len(self.restarts)}: answer to {sdp}")

    async def close(self) -> None:
        self.closed.set()

    def deliver(self, item: LegInput) -> None:
        if self._owner is None:
            self._early.append(item)
        else:
            self._owner.on_leg_input(item, now=clock.monotonic())

    def connect(self) -> None:
        self.deliver(LegConnected())
        self.deliver(LegOpened())

    def speak(self, drawing: str) -> None:
        for letter in drawing:
            self.deliver(PcmFrame(self._spoken, LOUD if letter == "s" else QUIET))
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


@dataclass
class PoolHarness:
    """A pool with its bus, worker, legs and usage sink."""

    pool: Pool
    worker: StubWorker
    bus: Bus
    kept: RecordedUsage
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
    return Offer(call=new_call_id(), leg=new_leg_id(), attempt=1, connect=WebRtcOffer(sdp="v=0"), grant=grant)


@asynccontextmanager
async def pool_harness(  # noqa: PLR0913 - all by keyword
    bus: Bus,
    *,
    capacity: int = 5,
    detector: type = LoudIsSpeech,
    worker: bool = True,
    tracer: Tracer | None = None,
    answerers: Mapping[str, Answerer] | None = None,
    turns: TurnTerms = TurnTerms(),  # noqa: B008 - frozen
) -> AsyncIterator[PoolHarness]:
    legs: dict[LegId, PlainLeg] = {}

    async def answerer(leg: LegId, offer: LegOffer) -> tuple[Leg, LegAnswer]:
        assert isinstance(offer, WebRtcOffer)
        if offer.sdp == "bad":
            raise BadOfferError("not an offer")
        if offer.sdp == "broken":
            raise RuntimeError("a bug")
        legs[leg] = PlainLeg(leg)
        return legs[leg], WebRtcAnswer(sdp=f"answer to {offer.sdp}")

    gate = GateConfig(
        onset_frames=2,
        barge_in_onset_frames=2,
        hangover_frames=5,
        pre_roll_frames=2,
        tail_frames=1,
        audible_pre_roll_frames=0,
    )
    config = PoolConfig(PROCESS, capacity, gate, SpeechDetection(Unbatched(detector)), turns)
    kept, health = RecordedUsage(), Health()
    await ensure_calls_stream(bus.jetstream)
    upstream = StubWorker(bus)
    if worker:
        await upstream.open()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        usage = UsageReporter(UsageWriter(kept, health, failures=metrics.USAGE_FAILED, retry_s=0.01))
        pool = Pool(
            config,
            bus=bus,
            answerers={WEBRTC: answerer, **(answerers or {})},
            history=CallRecords(bus),
            usage=usage,
            group=group,
            tracer=tracer or Tracer(),
        )
        await pool.subscribe()
        await bus.flush()
        yield PoolHarness(pool, upstream, bus, kept, legs, health)
        await pool.close(timeout_s=0.01)


HarnessOpener = Callable[..., AbstractAsyncContextManager[PoolHarness]]


async def record(bus: Bus, subject: str, kind: type[Message]) -> Message:
    subscription = await bus.jetstream.subscribe(subject, ordered_consumer=True)
    try:
        return expect(kind, (await subscription.next_msg(timeout=10)).data)
    finally:
        await subscription.unsubscribe()


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"hushgate_{name}", labels) or 0.0
