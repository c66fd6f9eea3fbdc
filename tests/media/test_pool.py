import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import DOWN_FRAME_BYTES, UP_FRAME_BYTES, PcmFrame
from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.grant import Grant, Limits
from services.contracts.ids import (
    CallId,
    Epoch,
    ItemId,
    LegId,
    ProcessId,
    SessionId,
    TenantId,
    WorkerId,
    new_call_id,
    new_leg_id,
)
from services.contracts.messages import (
    AnyMessage,
    CallEnded,
    CallStarted,
    Claim,
    ClaimGranted,
    ClaimRefusal,
    ClaimRefused,
    Done,
    Ended,
    Hangup,
    Message,
    Offer,
    OfferAnswered,
    OfferRefused,
    PlayoutReport,
    expect,
)
from services.contracts.usage import Meter, UsageData
from services.media.call import Call
from services.media.core.gate import GateConfig
from services.media.history import History
from services.media.leg import (
    BadOfferError,
    Leg,
    LegClosed,
    LegConnected,
    LegInput,
    LegMeasured,
    LegMessage,
    LegOpened,
    Pace,
    PlayoutSource,
)
from services.media.pool import Pool, PoolConfig
from services.media.usage import Meters
from services.runtime.bus import Bus
from services.runtime.errors import NoRespondersError
from services.runtime.health import Health
from services.runtime.streams import ensure_calls_stream

PROCESS, WORKER, EPOCH = ProcessId("media-0"), WorkerId("up-0"), Epoch(42)
TENANT = TenantId("acme")
ITEM = ItemId("item_a")
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

    def __init__(self, leg_id: LegId) -> None:
        self.id = leg_id
        self.inputs: asyncio.Queue[LegInput] = asyncio.Queue()
        self.events: asyncio.Queue[str] = asyncio.Queue()
        self.source: asyncio.Future[PlayoutSource] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.breaks = False
        self._spoken = 0

    async def received(self) -> AsyncIterator[LegInput]:
        while True:
            item = await self.inputs.get()
            yield item
            if isinstance(item, LegClosed):
                return

    def play(self, source: PlayoutSource) -> None:
        self.source.set_result(source)

    def send_event(self, text: str) -> None:
        if self.breaks:
            raise RuntimeError("broken")
        self.events.put_nowait(text)

    async def close(self) -> None:
        self.closed.set()

    def connect(self) -> None:
        self.inputs.put_nowait(LegConnected())
        self.inputs.put_nowait(LegOpened())

    def speak(self, drawing: str) -> None:
        for letter in drawing:
            self.inputs.put_nowait(PcmFrame(self._spoken, LOUD if letter == "s" else QUIET))
            self._spoken += 1

    async def pull(self) -> bytes | None:
        source = await self.source
        await source.playable()
        return source.pull()

    async def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.events.get())
        return event


@dataclass
class Worker:
    """The upstream's end of the bus."""

    bus: Bus
    refuse: list[ClaimRefusal] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    got: asyncio.Queue[tuple[CallId, Frame]] = field(default_factory=asyncio.Queue)
    sequence: int = 0

    async def open(self) -> None:
        await self.bus.serve(subjects.CLAIM, self._claim, queue=subjects.UPSTREAM_QUEUE)
        await self.bus.listen(subjects.up_of(WORKER), self._frame)

    async def _claim(self, message: AnyMessage) -> Message:
        assert isinstance(message, Claim)
        self.claims.append(message)
        if self.refuse:
            return ClaimRefused(reason=self.refuse.pop(0))
        return ClaimGranted(
            worker=WORKER, epoch=EPOCH, session=SessionId("sess_a"), provider="rehearsal", model="gpt-realtime"
        )

    def _frame(self, subject: str, data: bytes) -> None:
        self.got.put_nowait((subjects.call_of(subject), frames.decode(data)))

    async def next(self, *wanted: Kind) -> Frame:
        while True:
            frame = (await self.got.get())[1]
            if frame.kind in wanted:
                return frame

    async def send(self, call: CallId, kind: Kind, position: int = 0, **fields: Any) -> None:  # noqa: ANN401 - the frame's
        fields.setdefault("epoch", EPOCH)
        frame = Frame(kind, position=position, sent_unix_ms=0, **fields)
        await self.bus.send(subjects.down(PROCESS, call), frames.encode(frame))

    async def event(self, call: CallId, event: dict[str, Any], **fields: Any) -> None:  # noqa: ANN401 - the frame's
        self.sequence += 1
        payload = encode_server_event(self.sequence, json.dumps(event).encode())
        await self.send(call, Kind.SERVER_EVENT, payload=payload, **fields)

    async def answer(self, call: CallId, frames_of_sound: int, *, end: bool = True) -> None:
        added = {"type": "response.output_item.added", "response_id": "resp_a", "item": {"id": ITEM}}
        await self.event(call, added)
        sound = np.full(frames_of_sound * 480, 1000, "<i2").tobytes()
        flags = Flag.ITEM_END if end else NO_FLAGS
        await self.send(call, Kind.AUDIO_DOWN, item_id=ITEM, flags=flags, payload=sound)


class Kept:
    """A sink for usage."""

    def __init__(self) -> None:
        self.usage: asyncio.Queue[UsageData] = asyncio.Queue()
        self.full = False

    async def put(self, tenant: TenantId, data: UsageData) -> None:
        assert tenant == TENANT
        if self.full:
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


Opener = Callable[..., "Any"]


@pytest.fixture
def house(bus: Bus) -> Opener:
    @asynccontextmanager
    async def open_house(
        *, capacity: int = 5, detector: type = LoudIsSpeech, worker: bool = True
    ) -> AsyncIterator[House]:
        legs: dict[LegId, PlainLeg] = {}

        async def answerer(leg: LegId, sdp: str) -> tuple[Leg, str]:
            if sdp == "bad":
                raise BadOfferError("not an offer")
            if sdp == "broken":
                raise RuntimeError("a bug")
            legs[leg] = PlainLeg(leg)
            return legs[leg], f"answer to {sdp}"

        gate = GateConfig(onset_frames=2, barge_in_onset_frames=2, hangover_frames=5, pre_roll_frames=2, tail_frames=1)
        config = PoolConfig(PROCESS, capacity, gate, detector)
        kept, health = Kept(), Health()
        await ensure_calls_stream(bus.jetstream)
        upstream = Worker(bus)
        if worker:
            await upstream.open()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            meters = Meters(kept, health)
            pool = Pool(config, bus=bus, answerer=answerer, history=History(bus), meters=meters, group=group)
            await pool.open()
            await bus.flush()
            yield House(pool, upstream, bus, kept, legs, health)
            await pool.close(timeout_s=0.01)

    return open_house


async def record(bus: Bus, subject: str, kind: type[Message]) -> Message:
    subscription = await bus.jetstream.subscribe(subject, ordered_consumer=True)
    try:
        return expect(kind, (await subscription.next_msg(timeout=10)).data)
    finally:
        await subscription.unsubscribe()


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"hushgate_{name}", labels) or 0.0


# --- offers ------------------------------------------------------------------------------------------------------


async def test_an_offer_is_answered_once_a_worker_has_claimed_the_call(house: Opener) -> None:
    async with house() as home:
        offer = an_offer()
        assert await home.ask(offer) == OfferAnswered(sdp="answer to v=0")
        (claim,) = home.worker.claims
        assert (claim.call, claim.process, claim.grant) == (offer.call, PROCESS, offer.grant)
        assert home.pool.active == 1
        assert (await home.worker.next(Kind.ALIVE)).epoch == EPOCH


async def test_the_same_offer_again_gets_the_same_answer_and_makes_no_second_call(house: Opener) -> None:
    async with house() as home:
        offer = an_offer()
        first, second = await asyncio.gather(home.ask(offer), home.ask(offer))
        assert first == second == await home.ask(offer) == OfferAnswered(sdp="answer to v=0")
        assert len(home.worker.claims) == home.pool.active == 1


async def test_another_attempt_at_a_live_call_is_refused(house: Opener) -> None:
    async with house() as home:
        offer = an_offer()
        await home.ask(offer)
        again = await home.ask(offer.model_copy(update={"attempt": 2}))
        assert isinstance(again, OfferRefused)
        assert again.reason == "internal"


async def test_without_a_worker_there_is_no_answer(house: Opener) -> None:
    async with house(worker=False) as home:
        offer = an_offer()
        refused = await home.ask(offer)
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "no_worker"
        await home.legs[offer.leg].closed.wait()
        assert home.pool.active == home.pool.reserved == 0


@pytest.mark.parametrize(
    ("refusals", "reason", "asked"),
    [
        (["lease_taken"], "no_worker", 1),
        (["unknown_provider"], "provider_refused", 1),
        (["full", "draining", "full"], "no_worker", 3),
    ],
)
async def test_a_worker_that_refuses_is_a_refusal(
    house: Opener, refusals: list[ClaimRefusal], reason: str, asked: int
) -> None:
    async with house() as home:
        home.worker.refuse = refusals
        refused = await home.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == reason
        assert len(home.worker.claims) == asked


async def test_a_full_worker_is_not_the_end_of_it(house: Opener) -> None:
    async with house() as home:
        home.worker.refuse = ["full"]
        assert isinstance(await home.ask(an_offer()), OfferAnswered)


@pytest.mark.parametrize(("sdp", "reason"), [("bad", "bad_offer"), ("broken", "internal")])
async def test_a_leg_that_cannot_be_made_gives_the_claim_back(house: Opener, sdp: str, reason: str) -> None:
    async with house() as home:
        refused = await home.ask(an_offer().model_copy(update={"sdp": sdp}))
        assert isinstance(refused, OfferRefused)
        assert refused.reason == reason
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL


async def test_a_full_process_refuses(house: Opener) -> None:
    async with house(capacity=1) as home:
        await home.call()
        refused = await home.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "full"


async def test_an_identifier_that_does_not_fit_a_subject_is_refused(house: Opener) -> None:
    async with house() as home:
        refused = await home.ask(an_offer().model_copy(update={"call": "rtc_*"}))
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "bad_offer"


async def test_a_draining_process_refuses_and_then_is_not_there(house: Opener) -> None:
    async with house() as home:
        home.pool.draining = True
        refused = await home.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "draining"
        await home.pool.close(timeout_s=1)
        await home.bus.flush()
        with pytest.raises(NoRespondersError):
            await home.ask(an_offer())


# --- a call ------------------------------------------------------------------------------------------------------


async def test_speech_goes_up_and_silence_does_not(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        leg.speak("....ssss" + "." * 20)
        wanted = (Kind.UTTERANCE_START, Kind.AUDIO_UP, Kind.UTTERANCE_END)
        got = [await home.worker.next(*wanted)]
        while got[-1].kind is not Kind.UTTERANCE_END:
            got.append(await home.worker.next(*wanted))
        assert got[0].kind is Kind.UTTERANCE_START
        assert sum(len(frame.payload) for frame in got[1:-1]) == 7 * UP_FRAME_BYTES
        assert max(len(frame.payload) for frame in got[1:-1]) == 2 * UP_FRAME_BYTES


async def test_an_answer_is_played_with_its_events_in_step(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        await home.worker.event(call, {"type": "session.created"})
        await home.worker.answer(call, 2)
        await home.worker.event(call, {"type": "response.done"}, item_id=ITEM, position=960)
        assert (await leg.event())["type"] == "session.created"
        assert (await leg.event())["type"] == "response.output_item.added"
        first = await leg.pull()
        assert first is not None
        assert len(first) == DOWN_FRAME_BYTES
        assert (await leg.event())["type"] == "output_audio_buffer.started"
        await leg.pull()
        assert [(await leg.event())["type"] for _ in range(2)] == ["response.done", "output_audio_buffer.stopped"]
        report = await home.worker.next(Kind.PLAYOUT_REPORT)
        assert (report.position, report.item_id) == (960, ITEM)


async def test_nothing_more_to_play_makes_the_leg_wait(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        await home.worker.answer(call, 1)
        assert await leg.pull() is not None
        assert await leg.pull() is not None  # the fade
        assert await leg.pull() is None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leg.pull(), 0)


async def test_a_barge_in_reports_what_was_heard_before_the_new_utterance(house: Opener) -> None:
    async with house() as home:
        before = count("barge_in_total")
        call, leg = await home.call()
        await home.worker.answer(call, 8, end=False)
        for _ in range(5):
            await leg.pull()
        leg.speak("sss")
        wanted = (Kind.PLAYOUT_REPORT, Kind.UTTERANCE_START, Kind.AUDIO_UP)
        got = [await home.worker.next(*wanted) for _ in range(3)]
        assert [frame.kind for frame in got] == list(wanted)
        report = expect(PlayoutReport, got[0].payload)
        assert (report.cut, report.cause, got[0].position) == (True, "barge_in", 2400)
        assert await leg.pull() is not None  # the fade
        assert await leg.pull() is None
        assert count("barge_in_total") == before + 1


async def test_client_events_go_up(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        leg.inputs.put_nowait(LegMessage('{"type":"session.update"}'))
        assert (await home.worker.next(Kind.CLIENT_EVENT)).payload == b'{"type":"session.update"}'


async def test_frames_of_another_owner_are_counted_and_dropped(house: Opener) -> None:
    async with house() as home:
        before = count("bus_frames_dropped_total", reason="stale_epoch")
        call, leg = await home.call()
        await home.worker.event(call, {"type": "old"}, epoch=Epoch(41))
        home.worker.sequence = 0
        await home.worker.event(call, {"type": "new"})
        assert (await leg.event())["type"] == "new"
        assert count("bus_frames_dropped_total", reason="stale_epoch") == before + 1


async def test_rubbish_on_the_bus_harms_nobody(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        for rubbish in (b"", b"\0" * 40, b"x" * 300):
            await home.bus.send(subjects.down(PROCESS, call), rubbish)
            await home.bus.send(subjects.down(PROCESS, new_call_id()), rubbish)
        await home.worker.event(call, {"type": "still here"})
        assert (await leg.event())["type"] == "still here"


async def test_the_measured_round_trip_moves_what_was_heard(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        leg.inputs.put_nowait(LegMeasured(1000))
        await home.worker.answer(call, 8, end=False)
        await leg.pull()
        leg.speak("ss")
        assert expect(PlayoutReport, (await home.worker.next(Kind.PLAYOUT_REPORT)).payload).heard_ms == 0


# --- endings -----------------------------------------------------------------------------------------------------


async def test_a_hang_up_ends_the_call_everywhere_with_the_same_word(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        ended = asyncio.create_task(record(home.bus, subjects.CALL_ENDED, CallEnded))
        assert await home.bus.request(subjects.control(call), Hangup(call=call), timeout_s=5) == Done()
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.HANGUP
        await leg.closed.wait()
        told = [json.loads(leg.events.get_nowait()) for _ in range(leg.events.qsize())]
        assert told[-1]["type"] == "hushgate.ended"
        assert told[-1]["reason"] == "hangup"
        history = await ended
        assert isinstance(history, CallEnded)
        assert (history.call, history.reason, history.provider) == (call, EndReason.HANGUP, "rehearsal")
        await home.bus.flush()
        with pytest.raises(NoRespondersError):
            await home.bus.request(subjects.control(call), Hangup(call=call), timeout_s=5)


async def test_the_start_of_a_call_is_recorded(house: Opener) -> None:
    async with house() as home:
        call, _ = await home.call()
        started = await record(home.bus, subjects.CALL_STARTED, CallStarted)
        assert isinstance(started, CallStarted)
        assert (started.call, started.tenant, started.model) == (call, TENANT, "gpt-realtime")


async def test_a_client_that_is_gone_ends_the_call(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        leg.inputs.put_nowait(LegClosed(EndReason.CLIENT_GONE))
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.CLIENT_GONE
        await leg.closed.wait()


async def test_a_worker_that_ends_the_call_is_not_told_so_again(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        await home.worker.send(call, Kind.ENDED, payload=Ended(reason=EndReason.PROVIDER_REFUSED).encode())
        await leg.closed.wait()
        usage = await home.kept.usage.get()
        assert usage.call_id == call
        await home.bus.flush()
        kinds = {home.worker.got.get_nowait()[1].kind for _ in range(home.worker.got.qsize())}
        assert Kind.ENDED not in kinds


async def test_a_call_ends_at_its_longest_duration(house: Opener) -> None:
    async with house() as home:
        await home.call(an_offer(max_seconds=1))
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.MAX_SECONDS


async def test_a_bug_in_a_call_ends_that_call_with_its_reason_and_no_other(house: Opener) -> None:
    async with house(detector=BrokenDetector) as home:
        before = count("calls_ended_total", provider="rehearsal", reason="internal")
        _, broken = await home.call()
        other, well = await home.call()
        broken.speak("s")
        await broken.closed.wait()
        await home.kept.usage.get()
        await home.worker.event(other, {"type": "fine"})
        assert (await well.event())["type"] == "fine"
        assert count("calls_ended_total", provider="rehearsal", reason="internal") == before + 1


async def test_a_leg_with_a_bug_ends_its_call(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        leg.breaks = True
        await home.worker.event(call, {"type": "x"})
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL
        await leg.closed.wait()


async def test_usage_is_written_at_the_end_and_adds_up(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        await home.worker.answer(call, 3)
        await leg.pull()
        leg.speak("." * 30)
        leg.inputs.put_nowait(LegClosed(EndReason.CLIENT_GONE))
        usage = await home.kept.usage.get()
        assert (usage.call_id, usage.session_id, usage.epoch, usage.provider) == (call, "sess_a", EPOCH, "rehearsal")
        assert usage.meters[Meter.AUDIO_GATED_MS] == 600
        assert usage.meters[Meter.AUDIO_PLAYED_MS] == 20
        assert Meter.CALL_MS in usage.meters


async def test_while_usage_cannot_be_kept_no_new_call_is_taken(house: Opener) -> None:
    async with house() as home:
        home.health.blocked_by.clear()
        home.kept.full = True
        _, leg = await home.call()
        leg.inputs.put_nowait(LegClosed(EndReason.CLIENT_GONE))
        await leg.closed.wait()
        await record(home.bus, subjects.CALL_ENDED, CallEnded)
        refused = await home.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"
        assert not home.health.ready


async def test_draining_waits_for_calls_and_then_ends_them(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        await home.pool.close(timeout_s=0.05)
        assert leg.closed.is_set()
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.DRAINED
        assert home.pool.active == 0


async def test_draining_is_over_as_soon_as_the_last_call_is(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        drained = asyncio.create_task(home.pool.close(timeout_s=3600))
        leg.inputs.put_nowait(LegClosed(EndReason.CLIENT_GONE))
        await drained
        assert home.pool.active == 0


async def test_a_finished_call_leaves_no_task(house: Opener) -> None:
    async with house() as home:
        before = {task.get_name() for task in asyncio.all_tasks()}
        _, leg = await home.call()
        leg.inputs.put_nowait(LegClosed(EndReason.CLIENT_GONE))
        await home.pool.close(timeout_s=5)
        assert not {name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("call ")} - before


def test_a_call_is_the_source_of_its_leg() -> None:
    source: type[PlayoutSource] = Call
    assert source is Call
