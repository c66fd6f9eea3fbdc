"""Writes what calls use: for each every few seconds, and at its end."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from services.contracts.ids import TenantId
from services.contracts.usage import UsageData
from services.media import metrics
from services.media.call import Call
from services.runtime import clock
from services.runtime.health import Health
from services.runtime.logging import get_logger

EVERY_S = 5.0
PARTS = 20
"""What is written together shares a write to the disk (runtime/outbox.py), and keeps frames waiting for half a
millisecond each: with 5 parts a hundred calls made a frame in a hundred 10 ms late."""
RETRY_S = 30.0
"""After so long a new call may show whether usage can be kept again."""
LAST_TRIES = 3
SETTLE_S = 1.0
BLOCKED = "usage"


class UsageSink(Protocol):
    """Where usage becomes durable: the outbox."""

    async def put(self, tenant: TenantId, data: UsageData) -> object:
        """Keep ``data``; it is safe when this returns."""

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the ledger has everything."""


class Meters:
    """Reads the meters of calls. While usage cannot be kept the process takes no new calls."""

    def __init__(self, sink: UsageSink, health: Health, *, pause_s: float = 1.0, every_s: float = EVERY_S) -> None:
        self._sink = sink
        self._health = health
        self._pause_s = pause_s  # before a call's last usage is tried again
        self._every_s = every_s
        self._failed_at: float | None = None

    @property
    def failing(self) -> bool:
        """The last write failed, not long ago."""
        return self._failed_at is not None and clock.monotonic() - self._failed_at < RETRY_S

    async def write(self, call: Call) -> None:
        """Write one call's usage. Meters are cumulative, so what fails now is made good by the next."""
        await self._kept(call, call.usage())

    async def write_last(self, call: Call) -> None:
        """Write a call's last usage and let the ledger have it, so that a call that is called ended has its bill.

        Nothing makes good what fails here, so it is tried again. The ledger goes its own way: with metering away or
        many calls at once this gives up soon.
        """
        data = call.usage()
        for tried in range(LAST_TRIES):
            if tried:
                await asyncio.sleep(self._pause_s)
            if await self._kept(call, data):
                break
        else:
            get_logger().error("usage_lost", call_id=call.facts.id, reason="disk", meters=dict(data.meters))
        await self._sink.settled(SETTLE_S)

    async def _kept(self, call: Call, data: UsageData) -> bool:
        try:
            await self._sink.put(call.facts.tenant, data)
            self._failed_at = None
        except Exception:  # noqa: BLE001 - a full disk must not end calls; the metric pages
            metrics.USAGE_FAILED.inc()
            self._failed_at = clock.monotonic()
            get_logger().exception("usage_write_failed", call_id=call.facts.id)
        self._tell()
        return self._failed_at is None

    def _tell(self) -> None:
        if self.failing:
            self._health.blocked_by.add(BLOCKED)
        else:
            self._health.blocked_by.discard(BLOCKED)

    async def keep_writing(self, calls: Callable[[], Iterable[Call]]) -> None:
        """Write the usage of all live calls, for ever: a few at a time, so that no frame has to wait for all."""
        while True:
            for part in range(PARTS):
                await asyncio.sleep(self._every_s / PARTS)
                due = [call for call in calls() if hash(call.facts.id) % PARTS == part]
                # What has ended writes its last usage itself.
                await asyncio.gather(*(self.write(call) for call in due if call.reason is None))
            self._tell()
