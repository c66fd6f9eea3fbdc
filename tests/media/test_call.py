"""One call on a real bus: the order in which commands are executed, and the effects of failures."""

import asyncio

import pytest
from structlog.testing import capture_logs

from services.contracts import frame as frames
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.ids import TenantId, new_call_id, new_leg_id
from services.media.call import Call
from services.media.call_details import CallDetails
from services.media.core.commands import CallCommand
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.conversation.playout import Pulled
from services.media.core.speech.detector import Unbatched
from services.media.leg import LegClosed, LegConnected, LegOpened, LegOwner
from services.media.speech_detection import SpeechDetection
from services.runtime import clock
from services.runtime.bus.client import Bus
from tests.media.harness import LoudIsSpeech, PlainLeg, count
from tests.media.worker import EPOCH, GRANTED, ITEM, PROCESS, StubWorker

CONFIG = ConversationConfig(EPOCH, max_seconds=3600, own_events=("gate",))


def a_call(bus: Bus, *legs: PlainLeg, conversation: Conversation | None = None) -> Call:
    facts = CallDetails(new_call_id(), TenantId("acme"), PROCESS, GRANTED, 0, offered_at=0.0)
    conversation = conversation or Conversation(CONFIG, now=clock.monotonic())
    return Call(
        facts,
        legs=legs,
        conversation=conversation,
        speech=SpeechDetection(Unbatched(LoudIsSpeech)).open_stream(),
        bus=bus,
    )


async def heard_by_worker(bus: Bus, worker: StubWorker) -> list[Kind]:
    await bus.flush()
    await bus.flush()
    return [worker.got.get_nowait()[1].kind for _ in range(worker.got.qsize())]


class Overrun(PlainLeg):
    """A leg that cannot keep up with its first event and closes, as the interface allows, at once."""

    def send_event(self, text: str) -> None:
        super().send_event(text)
        if self.events.qsize() == 1:
            self.deliver(LegClosed(EndReason.CLIENT_GONE))


class CannotAttach(PlainLeg):
    """A leg whose `attach` raises."""

    def attach(self, owner: LegOwner) -> None:
        raise RuntimeError(repr(owner))


class CannotPull(Conversation):
    """A conversation whose playout raises."""

    def pull(self, frames: int = 1, *, now: float) -> tuple[Pulled | None, list[CallCommand]]:
        raise ZeroDivisionError(now, frames)


class CannotRunTimers(Conversation):
    """A conversation whose `on_timer` raises."""

    def on_timer(self, *, now: float, bus: bool = True) -> list[CallCommand]:  # noqa: ARG002 - as the original
        raise ZeroDivisionError(now)


class CannotEnd(Conversation):
    """A conversation whose `end` raises."""

    def end(self, reason: EndReason, *, now: float, by_worker: bool = False) -> list[CallCommand]:
        raise ZeroDivisionError(reason, now, by_worker)


async def test_a_leg_that_closes_while_it_is_sent_something_ends_the_call_after_what_was_decided_before(
    bus: Bus,
) -> None:
    worker, leg = StubWorker(bus), Overrun(new_leg_id())
    await worker.open()
    call = a_call(bus, leg)
    running = asyncio.create_task(call.run())
    await asyncio.sleep(0)
    leg.deliver(LegOpened())
    leg.speak("ssss")
    assert await running is EndReason.CLIENT_GONE
    assert await heard_by_worker(bus, worker) == [
        Kind.ALIVE,
        Kind.UTTERANCE_START,
        Kind.AUDIO_UP,
        Kind.AUDIO_UP,
        Kind.UTTERANCE_END,
        Kind.ENDED,
    ]


async def test_the_set_up_is_over_when_the_leg_is_connected(bus: Bus) -> None:
    stages = ("connect", "total")
    before = [count("call_setup_duration_seconds_count", stage=stage) for stage in stages]
    leg = PlainLeg(new_leg_id())
    call = a_call(bus, leg)
    running = asyncio.create_task(call.run())
    await asyncio.sleep(0)
    leg.deliver(LegConnected())
    call.end(EndReason.HANGUP)
    await running
    assert [count("call_setup_duration_seconds_count", stage=stage) for stage in stages] == [n + 1 for n in before]


async def test_after_its_end_a_call_takes_and_gives_nothing(bus: Bus) -> None:
    worker, leg = StubWorker(bus), PlainLeg(new_leg_id())
    await worker.open()
    call = a_call(bus, leg)
    running = asyncio.create_task(call.run())
    await asyncio.sleep(0)
    call.end(EndReason.HANGUP)
    before = await heard_by_worker(bus, worker)
    leg.speak("ssssss")
    call.on_leg_input(LegClosed(EndReason.CLIENT_GONE), now=1.0)
    assert call.pull(now=1.0) is None
    call.end(EndReason.FLOOD)
    assert await running is EndReason.HANGUP
    assert before[-1] is Kind.ENDED
    assert await heard_by_worker(bus, worker) == []
    assert leg.closed.is_set()


async def test_a_call_shows_that_it_lives_before_anything_else(bus: Bus) -> None:
    worker, leg = StubWorker(bus), PlainLeg(new_leg_id())
    await worker.open()
    leg.speak("ssss")
    call = a_call(bus, leg, conversation=Conversation(CONFIG, now=clock.monotonic()))
    running = asyncio.create_task(call.run())
    await asyncio.sleep(0)
    call.end(EndReason.HANGUP)
    await running
    assert (await heard_by_worker(bus, worker))[:2] == [Kind.ALIVE, Kind.UTTERANCE_START]


async def test_a_leg_that_cannot_be_owned_ends_the_call_and_the_worker_hears_of_it(bus: Bus) -> None:
    worker, leg = StubWorker(bus), CannotAttach(new_leg_id())
    await worker.open()
    assert await a_call(bus, leg).run() is EndReason.INTERNAL
    assert leg.closed.is_set()
    assert (await heard_by_worker(bus, worker))[-1] is Kind.ENDED


@pytest.mark.interpreted
async def test_a_bug_in_what_is_pulled_ends_the_call(bus: Bus) -> None:
    worker, leg = StubWorker(bus), PlainLeg(new_leg_id())
    await worker.open()
    call = a_call(bus, leg, conversation=CannotPull(CONFIG, now=clock.monotonic()))
    assert call.pull(now=0.0) is None
    assert call.reason is EndReason.INTERNAL
    assert (await heard_by_worker(bus, worker))[-1] is Kind.ENDED


@pytest.mark.interpreted
async def test_a_bug_in_any_other_step_ends_the_call_too(bus: Bus) -> None:
    leg = PlainLeg(new_leg_id())
    call = a_call(bus, leg, conversation=CannotRunTimers(CONFIG, now=clock.monotonic()))
    assert await call.run() is EndReason.INTERNAL
    assert leg.closed.is_set()


async def test_an_answered_turn_is_counted_with_its_provider(bus: Bus) -> None:
    name, labels = "turn_response_latency_seconds_count", {"provider": "rehearsal", "model": "gpt-realtime"}
    before = count(name, **labels)
    leg = PlainLeg(new_leg_id())
    call = a_call(bus, leg)
    running = asyncio.create_task(call.run())
    await asyncio.sleep(0)
    leg.speak("ssss" + "." * 30)
    await asyncio.sleep(0)  # the detector's batch
    call.on_worker_frame(frames.encode(Frame(Kind.AUDIO_DOWN, EPOCH, 0, 0, ITEM, payload=bytes(960))))
    assert await leg.pull() is not None
    assert count(name, **labels) == before + 1
    call.end(EndReason.HANGUP)
    await running


@pytest.mark.interpreted
async def test_a_call_whose_core_cannot_end_is_over_all_the_same(bus: Bus) -> None:
    leg = PlainLeg(new_leg_id())
    call = a_call(bus, leg, conversation=CannotEnd(CONFIG, now=clock.monotonic()))
    running = asyncio.create_task(call.run())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        call.end(EndReason.HANGUP)
    assert [line["stage"] for line in logs] == ["end"]
    assert await running is EndReason.HANGUP
    assert leg.closed.is_set()


async def test_an_answer_makes_the_leg_play(bus: Bus) -> None:
    leg = PlainLeg(new_leg_id())
    call = a_call(bus, leg)
    call.on_worker_frame(b"not a frame")
    assert not leg.playing.is_set()
    call.on_worker_frame(frames.encode(Frame(Kind.AUDIO_DOWN, EPOCH, 0, 0, ITEM, payload=bytes(960))))
    assert leg.playing.is_set()


async def test_a_further_leg_of_a_call_is_neither_received_from_nor_sent_to_and_closes_with_it(bus: Bus) -> None:
    worker, served, further = StubWorker(bus), PlainLeg(new_leg_id()), PlainLeg(new_leg_id())
    await worker.open()
    call = a_call(bus, served, further)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(call.run())
        await asyncio.sleep(0)
        for leg in (served, further):
            leg.connect()
        further.speak("sssss")
        further.deliver(LegClosed(EndReason.CLIENT_GONE))
        assert call.reason is None
        served.speak("sssss")
        await worker.next(Kind.UTTERANCE_START)
        assert served.events.qsize()
        assert further.events.empty()
        further.playing.set()
        assert await further.pull() is None
        served.deliver(LegClosed(EndReason.HANGUP))
    assert running.result() is EndReason.HANGUP
    assert served.closed.is_set()
    assert further.closed.is_set()
    assert Kind.UTTERANCE_START not in await heard_by_worker(bus, worker)
