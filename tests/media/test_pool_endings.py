import asyncio
import json

import pytest

from services.contracts import subjects
from services.contracts.call_history import CallEnded
from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Done, Ended, Hangup, expect
from services.media.leg import LegClosed, LegMessage
from services.runtime.errors import NoRespondersError
from tests.media.harness import BrokenDetector, HarnessOpener, an_offer, count, record
from tests.media.worker import PROCESS


async def test_a_hang_up_ends_the_call_everywhere_with_the_same_word(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        ended = asyncio.create_task(record(harness.bus, subjects.call_ended(PROCESS), CallEnded))
        assert await harness.bus.request(subjects.control(PROCESS, call), Hangup(call=call), timeout_s=5) == Done()
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.HANGUP
        await leg.closed.wait()
        told = [json.loads(leg.events.get_nowait()) for _ in range(leg.events.qsize())]
        assert told[-1]["type"] == "hushgate.ended"
        assert told[-1]["reason"] == "hangup"
        history = await ended
        assert isinstance(history, CallEnded)
        assert (history.call, history.reason, history.provider) == (call, EndReason.HANGUP, "rehearsal")
        await harness.bus.flush()
        with pytest.raises(NoRespondersError):
            await harness.bus.request(subjects.control(PROCESS, call), Hangup(call=call), timeout_s=5)


async def test_a_client_that_is_gone_ends_the_call(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.CLIENT_GONE
        await leg.closed.wait()


async def test_a_worker_that_ends_the_call_is_not_told_so_again(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        await harness.worker.send(call, Kind.ENDED, payload=Ended(reason=EndReason.PROVIDER_REFUSED).encode())
        await leg.closed.wait()
        usage = await harness.kept.usage.get()
        assert usage.call_id == call
        await harness.bus.flush()
        kinds = {harness.worker.got.get_nowait()[1].kind for _ in range(harness.worker.got.qsize())}
        assert Kind.ENDED not in kinds


async def test_a_call_ends_at_its_longest_duration(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        await harness.call(an_offer(max_seconds=1))
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.MAX_SECONDS


async def test_a_bug_in_a_call_ends_that_call_with_its_reason_and_no_other(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        before = count("calls_ended_total", provider="rehearsal", reason="internal")
        _, broken = await harness.call()
        other, well = await harness.call()
        broken.deliver(LegMessage(None))  # type: ignore[arg-type]
        await broken.closed.wait()
        await harness.kept.usage.get()
        await harness.worker.event(other, {"type": "fine"})
        assert (await well.event())["type"] == "fine"
        assert count("calls_ended_total", provider="rehearsal", reason="internal") == before + 1


async def test_a_leg_with_a_bug_ends_its_call(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        leg.send_fails = True
        await harness.worker.event(call, {"type": "x"})
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL
        await leg.closed.wait()


async def test_a_detector_that_fails_lets_the_audio_of_all_calls_pass(open_harness: HarnessOpener) -> None:
    async with open_harness(detector=BrokenDetector) as harness:
        before = count("detector_passed_frames_total", reason="failed")
        calls = [await harness.call() for _ in range(2)]
        for _, leg in calls:
            leg.speak("...")
        for _ in calls:
            await harness.worker.next(Kind.UTTERANCE_START)
        assert count("detector_passed_frames_total", reason="failed") == before + 6
