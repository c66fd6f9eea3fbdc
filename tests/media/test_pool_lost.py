from structlog.testing import capture_logs

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, UtteranceEnd, expect
from services.media.leg import LegClosed, LegLost, LegRecovered
from tests.media.house import Opener, count


async def test_a_client_that_is_lost_and_comes_back_is_counted_and_logged(house: Opener) -> None:
    async with house() as home:
        lost, back = count("legs_lost_total"), count("legs_recovered_total", how="address")
        call, leg = await home.call()
        with capture_logs() as logs:
            leg.comes(LegLost())
            leg.comes(LegRecovered(how="address", away_s=6.25))
        assert [(line["event"], line["call_id"]) for line in logs] == [("call_lost", call), ("call_recovered", call)]
        assert (logs[1]["how"], logs[1]["away_s"]) == ("address", 6.25)
        assert count("legs_lost_total") == lost + 1
        assert count("legs_recovered_total", how="address") == back + 1


async def test_the_worker_hears_that_a_lost_client_has_stopped_speaking(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        leg.speak("sss")
        leg.comes(LegLost())
        end = await home.worker.next(Kind.UTTERANCE_END)
        assert expect(UtteranceEnd, end.payload).reason == "no_packets"


async def test_a_client_that_is_back_is_asked_for_again_when_something_waits(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        leg.comes(LegLost())
        await home.worker.answer(call, 8)
        await home.worker.event(call, {"type": "after the answer"})
        while (await leg.event())["type"] != "after the answer":
            pass
        assert not leg.playing.is_set()
        leg.comes(LegRecovered(how="packets", away_s=1.0))
        assert await leg.pull() is not None


async def test_a_client_that_stays_away_is_gone(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        leg.comes(LegLost())
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        assert expect(Ended, (await home.worker.next(Kind.ENDED)).payload).reason is EndReason.CLIENT_GONE
