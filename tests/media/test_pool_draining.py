import asyncio

import pytest

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, OfferRefused, expect
from services.media.leg import LegClosed
from services.runtime.errors import NoRespondersError
from tests.media.house import Opener, an_offer


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


async def test_draining_waits_for_calls_and_then_ends_them(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        await home.pool.close(timeout_s=0.05)
        assert leg.closed.is_set()
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.DRAINED
        assert home.pool.active == 0


async def test_an_offer_that_draining_overtakes_leaves_nothing_behind(house: Opener) -> None:
    async with house() as home:
        home.worker.hesitates = asyncio.Event()
        offer = an_offer()
        asking = asyncio.create_task(home.ask(offer))
        await home.worker.asked.wait()
        drained = asyncio.create_task(home.pool.close(timeout_s=0))
        await home.bus.flush()
        assert not drained.done()
        home.worker.hesitates.set()
        await drained
        refused = await asking
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "draining"
        assert home.legs[offer.leg].closed.is_set()
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL
        assert home.pool.active == home.pool.reserved == 0


async def test_draining_is_over_as_soon_as_the_last_call_is(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        drained = asyncio.create_task(home.pool.close(timeout_s=3600))
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        await drained
        assert home.pool.active == 0


async def test_a_finished_call_leaves_no_task(house: Opener) -> None:
    async with house() as home:
        before = {task.get_name() for task in asyncio.all_tasks()}
        _, leg = await home.call()
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        await home.pool.close(timeout_s=5)
        assert not {name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("call ")} - before
