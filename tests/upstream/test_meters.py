"""What a provider has billed is on the disk before anybody is told of it, if the disk lets it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import Meter, UsageData
from services.runtime.health import Health
from services.upstream.core.commands import BookUsage
from services.upstream.meters import Disk, Meters

EXACT = BookUsage({Meter.TOKENS_AUDIO_IN: 7}, "resp_P1")
CUMULATIVE = BookUsage({Meter.AUDIO_SENT_MS: 20})


@dataclass
class SlowDisk:
    """Writes when it is let."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    kept: list[UsageData] = field(default_factory=list)

    async def put(self, tenant: TenantId, data: UsageData) -> None:  # noqa: ARG002 - the sink's signature
        self.asked.set()
        await self.ready.wait()
        self.kept.append(data)


@asynccontextmanager
async def meters(disk: SlowDisk) -> AsyncIterator[Meters]:
    made = Meters(
        disk,
        Disk(Health()),
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
        disk.ready.set()
        made.close()


async def test_exact_meters_are_kept_when_they_are_booked() -> None:
    disk = SlowDisk()
    async with meters(disk) as taken:
        booking = asyncio.create_task(taken.book(EXACT))
        await disk.asked.wait()
        assert not booking.done()
        disk.ready.set()
        await booking
        assert [data.provider_ref for data in disk.kept] == ["resp_P1"]


async def test_cumulative_meters_wait_for_no_disk() -> None:
    disk = SlowDisk()
    async with meters(disk) as taken:
        await taken.book(CUMULATIVE)
        assert disk.kept == []
    assert len(disk.kept) == 1


async def test_a_disk_that_is_too_slow_holds_nothing_up_and_still_gets_its_due() -> None:
    disk = SlowDisk()
    async with meters(disk) as taken:
        async with asyncio.timeout(5):
            await taken.book(EXACT)
        assert disk.kept == []
    assert [data.provider_ref for data in disk.kept] == ["resp_P1"]
