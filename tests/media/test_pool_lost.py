from structlog.testing import capture_logs

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, UtteranceEnd, expect
from services.media.leg import LegClosed, LegLost, LegRecovered
from tests.media.harness import HarnessOpener, count


async def test_a_client_that_is_lost_and_comes_back_is_counted_and_logged(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        lost, back = count("legs_lost_total"), count("legs_recovered_total", how="address")
        call, leg = await harness.call()
        with capture_logs() as logs:
            leg.deliver(LegLost())
            leg.deliver(LegRecovered(how="address", away_s=6.25))
        assert [(line["event"], line["call_id"]) for line in logs] == [("call_lost", call), ("call_recovered", call)]
        assert (logs[1]["how"], logs[1]["away_s"]) == ("address", 6.25)
        assert count("legs_lost_total") == lost + 1
        assert count("legs_recovered_total", how="address") == back + 1


async def test_the_worker_hears_that_a_lost_client_has_stopped_speaking(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        leg.speak("sss")
        leg.deliver(LegLost())
        end = await harness.worker.next(Kind.UTTERANCE_END)
        assert expect(UtteranceEnd, end.payload).reason == "no_packets"


async def test_a_client_that_is_back_is_asked_for_again_when_something_waits(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        leg.deliver(LegLost())
        await harness.worker.answer(call, 8)
        await harness.worker.event(call, {"type": "after the answer"})
        while (await leg.event())["type"] != "after the answer":
            pass
        assert not leg.playing.is_set()
        leg.deliver(LegRecovered(how="packets", away_s=1.0))
        assert await leg.pull() is not None


async def test_a_client_that_stays_away_is_gone(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        leg.deliver(LegLost())
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        assert expect(Ended, (await harness.worker.next(Kind.ENDED)).payload).reason is EndReason.CLIENT_GONE
