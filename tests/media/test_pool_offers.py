import asyncio

import pytest

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import ClaimRefusal, Ended, OfferAnswered, OfferRefused, expect
from tests.media.house import Opener, an_offer
from tests.media.worker import EPOCH, PROCESS


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


class MissingDetector:
    """A detector that cannot be made."""

    def __init__(self) -> None:
        raise OSError("no such model")


async def test_a_call_that_cannot_begin_gives_the_claim_back_and_closes_its_leg(house: Opener) -> None:
    async with house(detector=MissingDetector) as home:
        offer = an_offer()
        refused = await home.ask(offer)
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"
        assert home.legs[offer.leg].closed.is_set()
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL
        assert home.pool.active == home.pool.reserved == 0


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
