import asyncio

import pytest

from services.contracts.connect import OtherOffer, WebRtcAnswer, WebRtcOffer
from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import ClaimRefusal, Ended, OfferAnswered, OfferRefused, expect
from services.contracts.turn_detection import TurnTerms
from tests.media.harness import HarnessOpener, an_offer
from tests.media.worker import EPOCH, PROCESS


async def test_an_offer_is_answered_once_a_worker_has_claimed_the_call(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        offer = an_offer()
        answered = await harness.ask(offer)
        assert isinstance(answered, OfferAnswered)
        assert answered.connect == WebRtcAnswer(sdp="answer to v=0")
        (claim,) = harness.worker.claims
        assert (claim.call, claim.process, claim.grant) == (offer.call, PROCESS, offer.grant)
        assert harness.pool.admission.active == 1
        assert (await harness.worker.next(Kind.ALIVE)).epoch == EPOCH


async def test_the_same_offer_again_gets_the_same_answer_and_makes_no_second_call(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        offer = an_offer()
        first, second = await asyncio.gather(harness.ask(offer), harness.ask(offer))
        assert first == second == await harness.ask(offer)
        assert isinstance(first, OfferAnswered)
        assert first.connect == WebRtcAnswer(sdp="answer to v=0")
        assert len(harness.worker.claims) == harness.pool.admission.active == 1


async def test_another_attempt_at_a_live_call_is_refused(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        offer = an_offer()
        await harness.ask(offer)
        again = await harness.ask(offer.model_copy(update={"attempt": 2}))
        assert isinstance(again, OfferRefused)
        assert again.reason == "internal"


async def test_without_a_worker_there_is_no_answer(open_harness: HarnessOpener) -> None:
    async with open_harness(worker=False) as harness:
        offer = an_offer()
        refused = await harness.ask(offer)
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "no_worker"
        await harness.legs[offer.leg].closed.wait()
        assert harness.pool.admission.active == harness.pool.admission.reserved == 0


@pytest.mark.parametrize(
    ("refusals", "reason", "asked"),
    [
        (["lease_taken"], "no_worker", 1),
        (["full", "draining", "full"], "no_worker", 3),
    ],
)
async def test_a_worker_that_refuses_is_a_refusal(
    open_harness: HarnessOpener, refusals: list[ClaimRefusal], reason: str, asked: int
) -> None:
    async with open_harness() as harness:
        harness.worker.refuse = refusals
        refused = await harness.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == reason
        assert len(harness.worker.claims) == asked


async def test_a_full_worker_is_not_the_end_of_it(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        harness.worker.refuse = ["full"]
        assert isinstance(await harness.ask(an_offer()), OfferAnswered)


@pytest.mark.parametrize(("sdp", "reason"), [("bad", "bad_offer"), ("broken", "internal")])
async def test_a_leg_that_cannot_be_made_gives_the_claim_back(
    open_harness: HarnessOpener, sdp: str, reason: str
) -> None:
    async with open_harness() as harness:
        refused = await harness.ask(an_offer().model_copy(update={"connect": WebRtcOffer(sdp=sdp)}))
        assert isinstance(refused, OfferRefused)
        assert refused.reason == reason
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL


class MissingDetector:
    """A detector that cannot be made."""

    def __init__(self) -> None:
        raise OSError("no such model")


async def test_a_call_that_cannot_begin_gives_the_claim_back_and_closes_its_leg(open_harness: HarnessOpener) -> None:
    async with open_harness(detector=MissingDetector) as harness:
        offer = an_offer()
        refused = await harness.ask(offer)
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"
        assert harness.legs[offer.leg].closed.is_set()
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.INTERNAL
        assert harness.pool.admission.active == harness.pool.admission.reserved == 0


async def test_a_full_process_refuses(open_harness: HarnessOpener) -> None:
    async with open_harness(capacity=1) as harness:
        await harness.call()
        refused = await harness.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "full"


async def test_an_unknown_transport_is_refused_so_that_another_process_is_asked(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        refused = await harness.ask(an_offer().model_copy(update={"connect": OtherOffer(transport="pigeon")}))
        assert refused == OfferRefused(reason="internal", detail="no legs by 'pigeon' here")
        assert harness.worker.claims == []


async def test_an_identifier_that_does_not_fit_a_subject_is_refused(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        refused = await harness.ask(an_offer().model_copy(update={"call": "rtc_*"}))
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "bad_offer"


@pytest.mark.parametrize(("eager", "eager_ms"), [(True, 300), (False, 0)])
async def test_a_grant_without_eager_ends_tells_the_worker_so(
    open_harness: HarnessOpener,
    eager: bool,  # noqa: FBT001 - parametrized
    eager_ms: int,
) -> None:
    offer = an_offer()
    offer = offer.model_copy(update={"grant": offer.grant.model_copy(update={"eager": eager})})
    async with open_harness(turns=TurnTerms(eager_ms=300)) as harness:
        await harness.ask(offer)
        assert [claim.turns.eager_ms for claim in harness.worker.claims] == [eager_ms]
