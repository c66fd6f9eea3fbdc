"""Billed usage is on the disk before its response is reported to media, unless the disk is too slow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import Meter
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.process.health import Health
from services.upstream import metrics
from services.upstream.core.commands import BookUsage
from services.upstream.session_usage import SessionUsage
from tests.usage_sink import RecordedUsage

EXACT = BookUsage({Meter.TOKENS_AUDIO_IN: 7}, "resp_P1")
CUMULATIVE = BookUsage({Meter.AUDIO_SENT_MS: 20})


@asynccontextmanager
async def session_usage(sink: RecordedUsage) -> AsyncIterator[SessionUsage]:
    made = SessionUsage(
        UsageWriter(sink, Health(), failures=metrics.USAGE_FAILED),
        tenant=TenantId("acme"),
        call=CallId("rtc_" + "a" * 26),
        session=SessionId("sess_ours"),
        epoch=Epoch(1),
        provider="rehearsal",
        model="gpt-realtime-2.1",
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(made.keep_writing())
        yield made
        sink.ready.set()
        made.close()


async def test_exact_meters_are_kept_when_they_are_booked() -> None:
    disk = RecordedUsage(ready=False)
    async with session_usage(disk) as usage:
        booking = asyncio.create_task(usage.book(EXACT))
        await disk.asked.wait()
        assert not booking.done()
        disk.ready.set()
        await booking
        assert disk.refs() == ["resp_P1"]


async def test_cumulative_meters_wait_for_no_disk() -> None:
    disk = RecordedUsage(ready=False)
    async with session_usage(disk) as usage:
        await usage.book(CUMULATIVE)
        assert disk.events == []
    assert len(disk.events) == 1


async def test_a_disk_that_is_too_slow_holds_nothing_up_and_still_gets_its_due() -> None:
    disk = RecordedUsage(ready=False)
    async with session_usage(disk) as usage:
        async with asyncio.timeout(5):
            await usage.book(EXACT)
        assert disk.events == []
    assert disk.refs() == ["resp_P1"]


async def test_late_usage_is_counted_each_time_and_logged_once_until_it_is_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def late() -> float:
        return REGISTRY.get_sample_value("hushgate_upstream_usage_late_total") or 0.0

    monkeypatch.setattr("services.upstream.session_usage.DURABLE_S", 0.0)
    before, disk = late(), RecordedUsage(ready=False)
    async with session_usage(disk) as usage:
        await usage.book(EXACT)
        await usage.book(EXACT)
        assert late() == before + 2
        disk.ready.set()
        monkeypatch.setattr("services.upstream.session_usage.DURABLE_S", 10.0)
        await usage.book(EXACT)
        monkeypatch.setattr("services.upstream.session_usage.DURABLE_S", 0.0)
        disk.ready.clear()
        await usage.book(EXACT)
    logged = capsys.readouterr()
    assert late() == before + 3
    assert (logged.out + logged.err).count("usage_late") == 2
