import asyncio

from structlog.testing import capture_logs

from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.ids import CallId
from services.contracts.messages import CallEnded, CallStarted, OfferRefused
from services.contracts.usage import Meter
from services.media.leg import LegClosed
from services.media.usage import LAST_TRIES, Meters
from tests.media.house import TENANT, Opener, an_offer, record
from tests.media.worker import EPOCH, PROCESS, WORKER


async def test_the_start_of_a_call_is_recorded(house: Opener) -> None:
    async with house() as home:
        call, _ = await home.call()
        started = await record(home.bus, subjects.call_started(PROCESS), CallStarted)
        assert isinstance(started, CallStarted)
        assert (started.call, started.tenant, started.model) == (call, TENANT, "gpt-realtime")


async def test_usage_names_the_worker_at_once_and_at_the_end_adds_up(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        first = await home.kept.usage.get()
        assert (first.call_id, first.session_id, first.epoch, first.worker) == (call, "sess_a", EPOCH, WORKER)
        await home.worker.answer(call, 3)
        await leg.pull()
        leg.speak("." * 30)
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        usage = await home.kept.usage.get()
        assert (usage.call_id, usage.session_id, usage.epoch, usage.provider) == (call, "sess_a", EPOCH, "rehearsal")
        assert usage.meters[Meter.AUDIO_GATED_MS] == 600
        assert usage.meters[Meter.AUDIO_PLAYED_MS] == 20
        assert Meter.CALL_MS in usage.meters


async def test_while_usage_cannot_be_kept_no_new_call_is_taken(house: Opener) -> None:
    async with house() as home:
        home.health.blocked_by.clear()
        home.kept.full = True
        _, leg = await home.call()
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        await leg.closed.wait()
        await record(home.bus, subjects.call_ended(PROCESS), CallEnded)
        refused = await home.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"
        assert not home.health.ready


async def test_a_calls_last_usage_is_tried_again(house: Opener) -> None:
    async with house() as home:
        _, leg = await home.call()
        await home.kept.usage.get()
        home.kept.failures = LAST_TRIES - 1
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        assert Meter.CALL_MS in (await home.kept.usage.get()).meters


async def test_usage_that_is_lost_for_good_is_named(house: Opener) -> None:
    async with house() as home:
        call, leg = await home.call()
        await home.kept.usage.get()
        leg.speak("." * 30)
        home.kept.full = True
        with capture_logs() as logs:
            leg.comes(LegClosed(EndReason.CLIENT_GONE))
            await home.pool.close(timeout_s=5)
        (lost,) = [line for line in logs if line["event"] == "usage_lost"]
        assert (lost["call_id"], lost["log_level"]) == (call, "error")
        assert lost["meters"][Meter.AUDIO_GATED_MS] == 600
        assert home.kept.usage.empty()


async def test_each_live_call_is_written_in_turn_until_it_ends(house: Opener) -> None:
    async with house() as home:
        meters = Meters(home.kept, home.health, every_s=0.02)
        writing = asyncio.create_task(meters.keep_writing(home.pool.calls))
        (first, leg), (second, _) = await home.call(), await home.call()
        written: list[CallId] = []
        while not {first, second} <= {call for call in set(written) if written.count(call) > 1}:
            written.append((await home.kept.usage.get()).call_id)
        leg.comes(LegClosed(EndReason.CLIENT_GONE))
        await record(home.bus, subjects.call_ended(PROCESS), CallEnded)
        while not home.kept.usage.empty():
            home.kept.usage.get_nowait()
        assert {(await home.kept.usage.get()).call_id for _ in range(3)} == {second}
        writing.cancel()
