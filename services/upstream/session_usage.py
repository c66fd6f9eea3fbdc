"""Writes a call's usage to the outbox in a task of its own: a slow disk must not delay the audio for long."""

import asyncio

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import UsageData
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics
from services.upstream.core.commands import BookUsage

DURABLE_S = 0.1
"""Longest that `response.done` waits for its usage to be on the disk: too short to be audible."""


class SessionUsage:
    """One call's queue of usage for the outbox, in order. Run `keep_writing` in a task; `close` ends it."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        writer: UsageWriter,
        *,
        tenant: TenantId,
        call: CallId,
        session: SessionId,
        epoch: Epoch,
        provider: str,
        model: str,
    ) -> None:
        self._writer = writer
        self._tenant = tenant
        self._call = call
        self._session = session
        self._epoch = epoch
        self._provider = provider
        self._model = model
        self._seq = 0
        self._queue: asyncio.Queue[UsageData | None] = asyncio.Queue()
        self._closing = False
        self._is_late = False

    async def book(self, command: BookUsage) -> None:
        """Queue a reading; wait up to `DURABLE_S` until it is on the disk if its meters are exact, not cumulative."""
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
            self._is_late = False
        except TimeoutError:
            metrics.USAGE_LATE.inc()
            if not self._is_late:  # logged once until a write is in time again: on a busy machine most are late
                get_logger().warning("usage_late", call_id=self._call, reason="disk")
            self._is_late = True

    def close(self) -> None:
        """Let `keep_writing` return when all readings so far are written. Book nothing after this."""
        self._closing = True
        self._queue.put_nowait(None)

    async def keep_writing(self) -> None:
        """Write readings until `close`, retrying those that fail; after `close` a failing one may be given up."""
        while (data := await self._queue.get()) is not None:
            await self._writer.write_until_kept(self._tenant, data, may_give_up=lambda: self._closing)
            self._queue.task_done()
