"""Writes usage to the outbox, and blocks new calls while writes fail."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from prometheus_client import Counter

from services.contracts.ids import TenantId
from services.contracts.usage import UsageData
from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.process.health import Health
from services.runtime.telemetry.logging import get_logger

RETRY_S = 1.0
BLOCKED_S = 30.0
"""After so long without another failure a new call may show whether writes succeed again."""
LAST_TRIES = 3
SETTLE_S = 1.0
BLOCKED = "usage"


class UsageSink(Protocol):
    """Durable storage of usage: the outbox."""

    async def store(self, tenant: TenantId, data: UsageData) -> object:
        """Store ``data``; it is durable when this returns.

        Raises:
            HushgateError: it is not stored.
        """

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the ledger has everything; False after ``timeout_s``."""


class UsageWriter:
    """One per process. While usage cannot be stored the process is not ready and must accept no new calls."""

    def __init__(self, sink: UsageSink, health: Health, *, failures: Counter, retry_s: float = RETRY_S) -> None:
        self._sink = sink
        self._failures = failures
        self._retry_s = retry_s
        self._failed_at: float | None = None
        health.checks[BLOCKED] = lambda: not self.failing

    @property
    def failing(self) -> bool:
        """Whether the last write failed less than `BLOCKED_S` ago."""
        return self._failed_at is not None and clock.monotonic() - self._failed_at < BLOCKED_S

    async def write(self, tenant: TenantId, data: UsageData) -> bool:
        """Write ``data`` once; False when it is not stored. A later write of a cumulative meter makes up for it."""
        try:
            await self._sink.store(tenant, data)
        except Exception as exc:  # noqa: BLE001 - whatever it is must not end calls; the metric pages
            self._failures.inc()
            self._failed_at = clock.monotonic()
            unexpected = not isinstance(exc, HushgateError)
            reason = type(exc).__name__
            get_logger().error("usage_write_failed", call_id=data.call_id, reason=reason, exc_info=unexpected)
            return False
        self._failed_at = None
        return True

    async def write_until_kept(
        self, tenant: TenantId, data: UsageData, *, may_give_up: Callable[[], bool] = lambda: True
    ) -> bool:
        """Write ``data`` that no later write makes up for; False, and logged as lost, when it is not stored.

        It is retried until `LAST_TRIES` writes have failed and ``may_give_up`` returns true.
        """
        tries = 0
        while not await self.write(tenant, data):
            tries += 1
            if tries >= LAST_TRIES and may_give_up():
                get_logger().error("usage_lost", call_id=data.call_id, reason="disk", meters=dict(data.meters))
                return False
            await asyncio.sleep(self._retry_s)
        return True

    async def settle(self) -> bool:
        """Wait until the ledger has everything written; False when it has not within `SETTLE_S`.

        The ledger catches up on its own: with metering down or many calls at once this gives up early.
        """
        return await self._sink.settled(SETTLE_S)
