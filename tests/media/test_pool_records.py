import asyncio

from services.contracts import subjects
from services.contracts.call_history import CallEnded, CallStarted
from services.contracts.endings import EndReason
from services.contracts.ids import CallId
from services.contracts.messages import OfferRefused
from services.contracts.usage import Meter
from services.media import metrics
from services.media.leg import LegClosed
from services.media.usage import UsageReporter
from services.runtime.outbox.usage_writer import LAST_TRIES, UsageWriter
from tests.media.harness import TENANT, HarnessOpener, an_offer, record
from tests.media.worker import EPOCH, PROCESS, WORKER


async def test_the_start_of_a_call_is_recorded(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, _ = await harness.call()
        started = await record(harness.bus, subjects.call_started(PROCESS), CallStarted)
        assert isinstance(started, CallStarted)
        assert (started.call, started.tenant, started.model) == (call, TENANT, "gpt-realtime")


async def test_usage_names_the_worker_at_once_and_at_the_end_adds_up(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        first = await harness.kept.usage.get()
        assert (first.call_id, first.session_id, first.epoch, first.worker) == (call, "sess_a", EPOCH, WORKER)
        await harness.worker.answer(call, 3)
        await leg.pull()
        leg.speak("." * 30)
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        usage = await harness.kept.usage.get()
        assert (usage.call_id, usage.session_id, usage.epoch, usage.provider) == (call, "sess_a", EPOCH, "rehearsal")
        assert usage.meters[Meter.AUDIO_GATED_MS] == 600
        assert usage.meters[Meter.AUDIO_PLAYED_MS] == 20
        assert Meter.CALL_MS in usage.meters


async def test_while_usage_cannot_be_kept_no_new_call_is_taken(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        harness.health.blocked_by.clear()
        harness.kept.full = True
        _, leg = await harness.call()
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        await leg.closed.wait()
        await record(harness.bus, subjects.call_ended(PROCESS), CallEnded)
        refused = await harness.ask(an_offer())
        assert isinstance(refused, OfferRefused)
        assert refused.reason == "internal"
        assert not harness.health.ready


async def test_a_calls_last_usage_is_tried_again(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        await harness.kept.usage.get()
        harness.kept.failures = LAST_TRIES - 1
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        assert Meter.CALL_MS in (await harness.kept.usage.get()).meters


async def test_each_live_call_is_written_in_turn_until_it_ends(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        writer = UsageWriter(harness.kept, harness.health, failures=metrics.USAGE_FAILED)
        reporter = UsageReporter(writer, every_s=0.02)
        writing = asyncio.create_task(reporter.keep_writing(harness.pool.calls))
        (first, leg), (second, _) = await harness.call(), await harness.call()
        written: list[CallId] = []
        while not {first, second} <= {call for call in set(written) if written.count(call) > 1}:
            written.append((await harness.kept.usage.get()).call_id)
        leg.deliver(LegClosed(EndReason.CLIENT_GONE))
        await record(harness.bus, subjects.call_ended(PROCESS), CallEnded)
        while not harness.kept.usage.empty():
            harness.kept.usage.get_nowait()
        assert {(await harness.kept.usage.get()).call_id for _ in range(3)} == {second}
        writing.cancel()
