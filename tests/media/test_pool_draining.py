import asyncio

import pytest

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, OfferRefused, expect
from services.media.leg import LegClosed
from services.runtime.errors import NoRespondersError
from tests.media.harness import HarnessOpener, an_offer


async def test_a_draining_process_refuses_and_then_is_not_there(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        harness.pool.admission.draining = True
        refused = await harness.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "draining"
        await harness.pool.close(timeout_s=1)
        await harness.bus.flush()
        with pytest.raises(NoRespondersError):
            await harness.ask(an_offer())


async def test_draining_waits_for_calls_and_then_ends_them(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        await harness.pool.close(timeout_s=0.05)
        assert leg.closed.is_set()
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.DRAINED
        assert harness.pool.admission.active == 0


async def test_an_offer_that_draining_overtakes_leaves_nothing_behind(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        harness.worker.hold = asyncio.Event()
        offer = an_offer()
        asking = asyncio.create_task(harness.ask(offer))
        await harness.worker.asked.wait()
        drained = asyncio.create_task(harness.pool.close(timeout_s=0))
        await harness.bus.flush()
        assert not drained.done()
        harness.worker.hold.set()
        await drained
        refused = await asking
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "draining"
        assert harness.legs[offer.leg].closed.is_set()
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL
        assert harness.pool.admission.active == harness.pool.admission.reserved == 0


async def test_draining_is_over_as_soon_as_the_last_call_is(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        drained = asyncio.create_task(harness.pool.close(timeout_s=3600))
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        await drained
        assert harness.pool.admission.active == 0


async def test_a_finished_call_leaves_no_task(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        before = {task.get_name() for task in asyncio.all_tasks()}
        _, leg = await harness.call()
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        await harness.pool.close(timeout_s=5)
        assert not {name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("call ")} - before
