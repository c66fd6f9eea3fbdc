"""Writes what a call uses to the outbox, behind the call's back: a disk must not hold up its audio for long."""

import asyncio
from typing import Protocol

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import UsageData
from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.health import Health
from services.runtime.logging import get_logger
from services.upstream import metrics
from services.upstream.core.commands import BookUsage

RETRY_S = 1.0
BLOCKED_S = 30.0
"""After so long without another failure new calls are taken again."""
LAST_TRIES = 3
DURABLE_S = 0.1
"""So long the news of a response waits for its usage to be on the disk: short enough that nobody hears it."""
BLOCKED = "usage"


class UsageSink(Protocol):
    """Where usage becomes durable: the outbox."""

    async def put(self, tenant: TenantId, data: UsageData) -> object:
        """Keep ``data``; it is safe when this returns.

        Raises:
            HushgateError: it is not kept.
        """


class Disk:
    """Whether usage can be kept. While it cannot, the process takes no new calls."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._failed_at: float | None = None

    @property
    def failing(self) -> bool:
        """The last write failed, not long ago."""
        failing = self._failed_at is not None and clock.monotonic() - self._failed_at < BLOCKED_S
        (self._health.blocked_by.add if failing else self._health.blocked_by.discard)(BLOCKED)
        return failing

    def failed(self) -> None:
        """A write failed."""
        metrics.USAGE_FAILED.inc()
        self._failed_at = clock.monotonic()

    def worked(self) -> None:
        """A write went through."""
        self._failed_at = None


class Meters:
    """One call's usage on its way to the outbox, in order; nothing is dropped while there is hope."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        sink: UsageSink,
        disk: Disk,
        *,
        tenant: TenantId,
        call: CallId,
        session: SessionId,
        epoch: Epoch,
        provider: str,
        model: str,
    ) -> None:
        self._sink = sink
        self._disk = disk
        self._tenant = tenant
        self._call = call
        self._session = session
        self._epoch = epoch
        self._provider = provider
        self._model = model
        self._seq = 0
        self._queue: asyncio.Queue[UsageData | None] = asyncio.Queue()
        self._closing = False

    async def book(self, command: BookUsage) -> None:
        """Take a reading; exact meters are on the disk when this returns, unless it is too slow."""
        data = UsageData(
            call_id=self._call,
            session_id=self._session,
            epoch=self._epoch,
            seq=self._seq,
            provider=self._provider,
            model=command.model or self._model,
            provider_ref=command.provider_ref,
            meters=command.meters,
        )
        self._seq += 1
        self._queue.put_nowait(data)
        if not command.provider_ref:
            return
        try:
            async with asyncio.timeout(DURABLE_S):
                await self._queue.join()
        except TimeoutError:
            get_logger().warning("usage_late", call_id=self._call, reason="disk")

    def close(self) -> None:
        """Nothing more comes."""
        self._closing = True
        self._queue.put_nowait(None)

    async def keep_writing(self) -> None:
        """Write until `close`, and all that came before it."""
        while (data := await self._queue.get()) is not None:
            tries = 0
            while not await self._written(data):
                tries += 1
                if self._closing and tries >= LAST_TRIES:
                    get_logger().error("usage_lost", call_id=self._call, reason="disk", meters=dict(data.meters))
                    break
                await asyncio.sleep(RETRY_S)
            self._queue.task_done()

    async def _written(self, data: UsageData) -> bool:
        try:
            await self._sink.put(self._tenant, data)
        except HushgateError as exc:
            self._disk.failed()
            get_logger().error("usage_write_failed", call_id=self._call, reason=type(exc).__name__)
            return False
        self._disk.worked()
        return True
