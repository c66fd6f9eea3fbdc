"""Recording from the stream to the ledger while NATS or the ledger is not available."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError
from sqlalchemy import event

from services.contracts import subjects
from services.contracts.ids import TenantId
from services.metering.core.totals import Totals
from services.metering.recorder import CONSUMER, Recorder, usage_feed
from services.metering.store import Ledger
from services.runtime.bus.client import Bus
from services.runtime.outbox.outbox import Outbox, OutboxTiming
from services.runtime.process.health import Health
from tests.metering.event_maker import EventMaker
from tests.metering.polling import Until

ACME = TenantId("acme")


@asynccontextmanager
async def carrying(bus: Bus, ledger: Ledger, *, fetch_s: float = 1.0) -> AsyncIterator[Recorder]:
    with ThreadPoolExecutor(max_workers=1) as thread:
        recorder = Recorder(bus, thread, Totals(frozenset()), Health(set()), asyncio.Event(), fetch_s=fetch_s)
        task = asyncio.create_task(recorder.run_feed(usage_feed(ledger)))
        try:
            yield recorder
        finally:
            recorder.stopping.set()
            await task


@pytest.fixture
async def outbox(bus: Bus, tmp_path: Path) -> AsyncIterator[Outbox]:
    timing = OutboxTiming(settle_s=0)
    async with Outbox.open(
        tmp_path / "outbox.sqlite", bus=bus, role="media", process="media-0", timing=timing
    ) as opened:
        yield opened


async def not_ready(recorder: Recorder) -> bool:
    return not recorder.health.ready


async def pull_waits(bus: Bus) -> bool:
    try:
        consumer = await bus.jetstream.consumer_info(subjects.USAGE_STREAM, CONSUMER)
    except NotFoundError:
        return False
    return bool(consumer.num_waiting)


async def test_while_the_ledger_cannot_be_written_metering_is_not_ready_and_loses_nothing(
    bus: Bus, outbox: Outbox, tmp_path: Path, make: EventMaker, open_ledger: Callable[[], Ledger], until: Until
) -> None:
    ledger = open_ledger()
    make.place(ledger)
    event.listen(ledger.engine, "checkout", lambda raw, *_: raw.execute("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with carrying(bus, ledger) as recorder, asyncio.timeout(30):
        await outbox.store(ACME, make.data({"call_ms": 20}))
        await until(lambda: not_ready(recorder), because="health is asked, it tells nobody")
        assert not await outbox.settled(0)
        other.close()
        assert await outbox.settled(20)
        assert recorder.health.ready
        assert recorder.totals.results["booked"] == 1


async def test_told_to_stop_while_the_ledger_cannot_be_written_it_stops(
    bus: Bus, outbox: Outbox, tmp_path: Path, make: EventMaker, open_ledger: Callable[[], Ledger], until: Until
) -> None:
    ledger = open_ledger()
    make.place(ledger)
    event.listen(ledger.engine, "checkout", lambda raw, *_: raw.execute("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(30), carrying(bus, ledger) as recorder:
        await outbox.store(ACME, make.data({"call_ms": 20}))
        await until(lambda: not_ready(recorder), because="health is asked, it tells nobody")
    other.close()
    assert recorder.totals.results == {}


async def test_a_stream_that_was_deleted_is_made_again(
    bus: Bus, outbox: Outbox, make: EventMaker, ledger: Ledger
) -> None:
    async with carrying(bus, ledger) as recorder, asyncio.timeout(60):
        await outbox.store(ACME, make.data({"call_ms": 20}))
        assert await outbox.settled(20)
        await bus.jetstream.delete_stream(subjects.USAGE_STREAM)
        await outbox.store(ACME, make.data({"call_ms": 40}, seq=2))
        assert await outbox.settled(40)
        assert recorder.totals.results["booked"] == 2


async def test_told_to_stop_it_books_what_was_just_published_and_does_not_wait_its_fetch_out(
    bus: Bus, outbox: Outbox, make: EventMaker, ledger: Ledger
) -> None:
    async with asyncio.timeout(30), carrying(bus, ledger, fetch_s=600) as recorder:
        await outbox.store(ACME, make.data({"call_ms": 20}))
        assert await outbox.settled(20)
        for turn in range(250):
            body = make.event({"tokens_audio_in": 7}, provider_ref=f"resp_{turn}").encode()
            await bus.jetstream.publish(subjects.usage("upstream", "upstream-0", ACME), body)
    assert recorder.totals.results == {"booked": 251}


async def test_told_to_stop_while_nothing_comes_it_does_not_wait_its_fetch_out(
    bus: Bus, ledger: Ledger, until: Until
) -> None:
    async with asyncio.timeout(30), carrying(bus, ledger, fetch_s=600):
        await until(lambda: pull_waits(bus), because="the recorder sends no event while it waits")
