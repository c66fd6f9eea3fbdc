import asyncio

import pytest

from services.contracts import subjects
from services.contracts.ids import CallId, new_call_id
from services.contracts.messages import AnyMessage, Done, OfferAnswered, OfferRefused, Restart
from services.media import pool
from services.media.core.police import RESTARTS
from services.runtime.errors import RequestTimeoutError
from tests.media.house import House, Opener
from tests.media.worker import PROCESS


async def restart(home: House, call: CallId, sdp: str, *, of: CallId | None = None) -> AnyMessage:
    return await home.bus.request(subjects.control(PROCESS, call), Restart(call=of or call, sdp=sdp), timeout_s=5)


async def test_a_live_call_answers_a_new_offer(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        assert await restart(home, call, "v=1") == OfferAnswered(sdp="restart 1: answer to v=1")
        assert not leg.closed.is_set()


async def test_the_same_offer_again_gets_the_same_answer_and_another_a_new_one(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        leg.hesitates = asyncio.Event()
        both = asyncio.gather(restart(home, call, "v=1"), restart(home, call, "v=1"))
        await home.bus.flush()
        leg.hesitates.set()
        assert set(await both) == {OfferAnswered(sdp="restart 1: answer to v=1")}
        assert await restart(home, call, "v=1") == OfferAnswered(sdp="restart 1: answer to v=1")
        assert await restart(home, call, "v=2") == OfferAnswered(sdp="restart 2: answer to v=2")
        assert leg.restarts == ["v=1", "v=2"]


@pytest.mark.parametrize(("sdp", "reason"), [("bad", "bad_offer"), ("broken", "internal")])
async def test_an_offer_that_cannot_be_answered_leaves_the_call_as_it_was(house: Opener, sdp: str, reason: str) -> None:
    async with house() as home:
        call, leg = await home.call()
        refused = await restart(home, call, sdp)
        assert isinstance(refused, OfferRefused)
        assert refused.reason == reason
        assert home.pool.active == 1
        await restart(home, call, sdp)
        assert leg.restarts == [sdp, sdp]


async def test_a_leg_that_does_not_answer_in_time_is_a_refusal(house: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as home:
        call, leg = await home.call()
        monkeypatch.setattr(pool, "ANSWER_S", 0.01)
        leg.hesitates = asyncio.Event()
        refused = await restart(home, call, "v=1")
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"


async def test_only_so_many_restarts_of_a_call_are_worked_on(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        burst = round(RESTARTS.burst)
        replies = [await restart(home, call, f"v={number}") for number in range(burst + 1)]
        assert all(isinstance(reply, OfferAnswered) for reply in replies[:-1])
        assert replies[-1] == OfferRefused(reason="too_many")
        assert isinstance(await restart(home, call, "v=0"), OfferAnswered)  # known already
        assert len(leg.restarts) == burst


async def test_a_restart_of_a_call_that_is_not_here_is_refused(house: Opener) -> None:
    async with house() as home:
        call, _ = await home.call()
        refused = await restart(home, call, "v=1", of=new_call_id())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"


async def test_what_is_neither_a_hang_up_nor_a_restart_is_not_answered(house: Opener) -> None:
    async with house() as home:
        call, _ = await home.call()
        with pytest.raises(RequestTimeoutError):
            await home.bus.request(subjects.control(PROCESS, call), Done(), timeout_s=0.05)
