"""A second kind of leg, without SDP: pool and call must work with it unchanged."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.contracts import subjects
from services.contracts.audio import DOWN_FRAME_BYTES
from services.contracts.call_history import CallEnded
from services.contracts.connect import LegAnswer, LegOffer, OtherAnswer, OtherOffer, WebRtcAnswer
from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.ids import LegId
from services.contracts.messages import (
    Done,
    Hangup,
    Offer,
    OfferAnswered,
    OfferRefused,
    Restart,
    UtteranceStart,
    expect,
)
from services.media.leg import BadOfferError, Leg, LegClosed, LegMessage, PacedBy
from tests.media.harness import HarnessOpener, PlainLeg, PoolHarness, an_offer, record
from tests.media.worker import PROCESS

LOOPBACK = "loopback"
MEDIA = Path(__file__).parents[2] / "services" / "media"
KIND_BLIND = [MEDIA / name for name in ("call.py", "pool.py", "answer_cache.py", "heartbeat.py", "leg.py")]


class LoopbackLeg(PlainLeg):
    """A leg whose client is the test; it connects by a number, is paced by its client and cannot restart."""

    pace: PacedBy = "client"
    receive_delay_ms = 40

    async def restart(self, offer: LegOffer) -> WebRtcAnswer:
        raise BadOfferError(f"{offer.transport} cannot be restarted")


class Loopbacks:
    """The answerer of that kind."""

    def __init__(self) -> None:
        self.legs: dict[LegId, LoopbackLeg] = {}

    async def __call__(self, leg: LegId, offer: LegOffer) -> tuple[Leg, LegAnswer]:
        number = (offer.model_extra or {})["number"]
        self.legs[leg] = LoopbackLeg(leg)
        return self.legs[leg], OtherAnswer.model_validate({"transport": LOOPBACK, "number": number + 1})


def loopback(number: int = 1) -> Offer:
    connect = OtherOffer.model_validate({"transport": LOOPBACK, "number": number})
    return an_offer().model_copy(update={"connect": connect})


async def begun(harness: PoolHarness, kind: Loopbacks) -> tuple[Offer, LoopbackLeg]:
    offer = loopback()
    assert isinstance(await harness.ask(offer), OfferAnswered)
    leg = kind.legs[offer.leg]
    leg.connect()
    return offer, leg


async def test_a_leg_of_another_kind_makes_a_whole_call(open_harness: HarnessOpener) -> None:
    kind = Loopbacks()
    async with open_harness(answerers={LOOPBACK: kind}) as harness:
        offer = loopback(number=6)
        answer = await harness.ask(offer)
        assert isinstance(answer, OfferAnswered)
        assert answer.connect == OtherAnswer.model_validate({"transport": LOOPBACK, "number": 7})
        leg = kind.legs[offer.leg]
        leg.connect()
        await harness.worker.event(offer.call, {"type": "session.created"})
        assert (await leg.event())["type"] == "session.created"
        leg.speak("sssss")
        opened = await harness.worker.next(Kind.UTTERANCE_START)
        assert expect(UtteranceStart, opened.payload).cause == "speech"
        leg.speak("." * 20)
        await harness.worker.next(Kind.UTTERANCE_END)
        leg.deliver(LegMessage('{"type": "response.create"}'))
        assert b"response.create" in (await harness.worker.next(Kind.CLIENT_EVENT)).payload
        await harness.worker.answer(offer.call, 3)
        assert len(await leg.pull() or b"") == DOWN_FRAME_BYTES
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        ended = await record(harness.bus, subjects.call_ended(PROCESS), CallEnded)
        assert isinstance(ended, CallEnded)
        assert (ended.call, ended.reason) == (offer.call, EndReason.CLIENT_GONE)
        assert leg.closed.is_set()


async def test_legs_of_all_kinds_share_the_capacity(open_harness: HarnessOpener) -> None:
    kind = Loopbacks()
    async with open_harness(capacity=2, answerers={LOOPBACK: kind}) as harness:
        await harness.call()
        await begun(harness, kind)
        assert harness.pool.admission.active == 2
        for offer in (an_offer(), loopback()):
            assert await harness.ask(offer) == OfferRefused(reason="full")


async def test_a_restart_is_its_kinds_to_refuse(open_harness: HarnessOpener) -> None:
    kind = Loopbacks()
    async with open_harness(answerers={LOOPBACK: kind}) as harness:
        offer, _ = await begun(harness, kind)
        request = Restart(call=offer.call, leg=offer.leg, connect=offer.connect)
        refused = await harness.bus.request(subjects.control(PROCESS, offer.call), request, timeout_s=5)
        assert refused == OfferRefused(reason="bad_offer", detail="loopback cannot be restarted")
        assert harness.pool.admission.active == 1


async def test_a_hang_up_names_the_leg_and_one_of_another_leg_ends_nothing(open_harness: HarnessOpener) -> None:
    kind = Loopbacks()
    async with open_harness(answerers={LOOPBACK: kind}) as harness:
        offer, leg = await begun(harness, kind)
        subject = subjects.control(PROCESS, offer.call)
        other = Hangup(call=offer.call, leg=loopback().leg)
        assert await harness.bus.request(subject, other, timeout_s=5) == Done()
        assert harness.pool.admission.active == 1
        assert await harness.bus.request(subject, Hangup(call=offer.call, leg=offer.leg), timeout_s=5) == Done()
        await leg.closed.wait()


def kinds_named(source: str) -> Iterator[str]:
    """Yield the names in ``source`` that depend on the kind of a leg."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                if f"{module}.".startswith("services.media.legs."):
                    yield module
                if module == "services.contracts.connect":
                    yield from (name.name for name in names if name.name not in {"LegOffer", "LegAnswer"})
            case ast.Constant(value="webrtc"):
                yield "webrtc"
            case ast.Attribute(attr="sdp"):
                yield ".sdp"
            case ast.Compare(left=ast.Attribute(attr="transport")):
                yield ast.unparse(node)
            case ast.MatchClass(cls=ast.Name(id=name)) if name.endswith(("Leg", "Offer", "Answer")):
                yield name
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kind]):
                yield from (name for name in ast.unparse(kind).split(" | ") if name.endswith("Leg"))


@pytest.mark.parametrize(
    "source", ["isinstance(leg, WebRtcLeg)", 'if offer.transport == "x": pass', "offer.connect.sdp"]
)
def test_a_question_for_the_kind_is_found(source: str) -> None:
    assert list(kinds_named(source))


@pytest.mark.parametrize("file", [*KIND_BLIND, *sorted((MEDIA / "core").rglob("*.py"))], ids=lambda file: file.name)
def test_what_carries_calls_never_asks_which_kind_a_leg_is(file: Path) -> None:
    assert list(kinds_named(file.read_text())) == []
