import asyncio
import json

import pytest

from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import CallEnded, Done, Ended, Hangup, expect
from services.media.leg import LegClosed
from services.runtime.errors import NoRespondersError
from tests.media.house import BrokenDetector, Opener, an_offer, count, record
from tests.media.worker import PROCESS


async def test_a_hang_up_ends_the_call_everywhere_with_the_same_word(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        ended = asyncio.create_task(record(home.bus, subjects.call_ended(PROCESS), CallEnded))
        assert await home.bus.request(subjects.control(PROCESS, call), Hangup(call=call), timeout_s=5) == Done()
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
            await home.bus.request(subjects.control(PROCESS, call), Hangup(call=call), timeout_s=5)


async def test_a_client_that_is_gone_ends_the_call(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
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
