"""A placed call, with the outboxes of its media process and its worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.contracts import subjects
from services.contracts.ids import TenantId
from services.contracts.usage import MEDIA_METERS, UsageData
from services.runtime.bus import streams
from services.runtime.bus.client import Bus
from services.runtime.outbox.outbox import Outbox, OutboxTiming
from tests.metering.event_maker import EventMaker

ACME = TenantId("acme")
PLAIN = OutboxTiming(settle_s=0)


@dataclass
class PlacedCall:
    """Writes usage to the outbox of the process that measures it."""

    media: Outbox
    worker: Outbox

    async def store(self, tenant: TenantId, data: UsageData) -> None:
        await (self.media if set(data.meters) <= MEDIA_METERS else self.worker).store(tenant, data)

    async def settled(self, timeout_s: float) -> bool:
        return all(await asyncio.gather(self.media.settled(timeout_s), self.worker.settled(timeout_s)))


@asynccontextmanager
async def placed_call(
    bus: Bus,
    folder: Path,
    make: EventMaker,
    *,
    timing: OutboxTiming = PLAIN,
    **changes: Any,  # noqa: ANN401 - any field
) -> AsyncIterator[PlacedCall]:
    """Place a call. ``changes``: to the usage event by which media names the session's owner."""
    await streams.ensure_placed_stream(bus.jetstream)
    await streams.ensure_usage_stream(bus.jetstream)
    await bus.jetstream.publish(subjects.PLACED, make.placed().encode())
    async with (
        Outbox.open(folder / "media.sqlite", bus=bus, role="media", process="media-0", timing=timing) as media,
        Outbox.open(folder / "worker.sqlite", bus=bus, role="upstream", process="upstream-0", timing=timing) as worker,
    ):
        call = PlacedCall(media, worker)
        await call.store(ACME, make.data({"call_ms": 0}, **changes))
        yield call
