import asyncio

import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer, WebRtcOffer
from services.contracts.ids import SERVED, CallId, LegId, new_call_id, new_leg_id
from services.contracts.messages import AnyMessage, Done, OfferAnswered, OfferRefused, Restart
from services.media import pool
from services.media.core.network.rate_limiter import RESTARTS
from services.runtime.errors import RequestTimeoutError
from tests.media.harness import HarnessOpener, PoolHarness
from tests.media.worker import PROCESS


async def restart(
    harness: PoolHarness, call: CallId, sdp: str, *, of: CallId | None = None, leg: LegId = SERVED
) -> AnyMessage:
    request = Restart(call=of or call, leg=leg, connect=WebRtcOffer(sdp=sdp))
    return await harness.bus.request(subjects.control(PROCESS, call), request, timeout_s=5)


async def test_a_live_call_answers_a_new_offer(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        assert await restart(harness, call, "v=1") == OfferAnswered(
            connect=WebRtcAnswer(sdp="restart 1: answer to v=1")
        )
        assert not leg.closed.is_set()


async def test_the_same_offer_again_gets_the_same_answer_and_another_a_new_one(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        leg.hold = asyncio.Event()
        both = asyncio.gather(restart(harness, call, "v=1"), restart(harness, call, "v=1"))
        await harness.bus.flush()
        leg.hold.set()
        assert set(await both) == {OfferAnswered(connect=WebRtcAnswer(sdp="restart 1: answer to v=1"))}
        assert await restart(harness, call, "v=1") == OfferAnswered(
            connect=WebRtcAnswer(sdp="restart 1: answer to v=1")
        )
        assert await restart(harness, call, "v=2") == OfferAnswered(
            connect=WebRtcAnswer(sdp="restart 2: answer to v=2")
        )
        assert leg.restarts == ["v=1", "v=2"]


@pytest.mark.parametrize(("sdp", "reason"), [("bad", "bad_offer"), ("broken", "internal")])
async def test_an_offer_that_cannot_be_answered_leaves_the_call_as_it_was(
    open_harness: HarnessOpener, sdp: str, reason: str
) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        refused = await restart(harness, call, sdp)
        assert isinstance(refused, OfferRefused)
        assert refused.reason == reason
        assert harness.pool.admission.active == 1
        await restart(harness, call, sdp)
        assert leg.restarts == [sdp, sdp]


async def test_a_leg_that_does_not_answer_in_time_is_a_refusal(
    open_harness: HarnessOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        monkeypatch.setattr(pool, "ANSWER_S", 0.01)
        leg.hold = asyncio.Event()
        refused = await restart(harness, call, "v=1")
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"


async def test_only_so_many_restarts_of_a_call_are_worked_on(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        burst = round(RESTARTS.burst)
        replies = [await restart(harness, call, f"v={number}") for number in range(burst + 1)]
        assert all(isinstance(reply, OfferAnswered) for reply in replies[:-1])
        assert replies[-1] == OfferRefused(reason="too_many")
        assert isinstance(await restart(harness, call, "v=0"), OfferAnswered)  # known already
        assert len(leg.restarts) == burst


async def test_a_restart_of_a_call_that_is_not_here_is_refused(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, _ = await harness.call()
        refused = await restart(harness, call, "v=1", of=new_call_id())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"


async def test_a_restart_may_name_its_leg(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        assert isinstance(await restart(harness, call, "v=1", leg=leg.id), OfferAnswered)
        assert await restart(harness, call, "v=2", leg=new_leg_id()) == OfferRefused(
            reason="internal", detail="the leg is gone"
        )
        assert leg.restarts == ["v=1"]


async def test_what_is_neither_a_hang_up_nor_a_restart_is_not_answered(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, _ = await harness.call()
        with pytest.raises(RequestTimeoutError):
            await harness.bus.request(subjects.control(PROCESS, call), Done(), timeout_s=0.05)
