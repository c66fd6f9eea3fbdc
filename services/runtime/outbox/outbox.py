"""Delivers usage to the ledger: to disk first, then to JetStream; deleted only on metering's watermark.

Neither a crash of this process nor an acknowledged write that JetStream loses can lose an event.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from nats.errors import Error as NatsError

from services.contracts import messages
from services.contracts.call_history import Watermark
from services.contracts.ids import TenantId
from services.contracts.messages import MalformedMessageError
from services.contracts.subjects import UsageRole
from services.contracts.usage import UsageData, UsageEvent, usage_event
from services.runtime import clock
from services.runtime.bus import cancellation
from services.runtime.bus.client import Bus
from services.runtime.outbox.outbox_file import OutboxError, OutboxFile, StoredEvent
from services.runtime.outbox.usage_stream import UsageStream
from services.runtime.telemetry import metrics
from services.runtime.telemetry.logging import get_logger

__all__ = ["Outbox", "OutboxError", "OutboxTiming"]

_BATCH = 100
_FREE_PAUSE_S = 0.25
"""Metering acknowledges every event; those acknowledged within this time are deleted together."""
_MAX_UNCONFIRMED = 10_000
"""How many may be published without a watermark; the rest waits on disk."""
_MAX_PAUSE_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutboxTiming:
    """Seconds. ``republish_s``: without a watermark for so long, check whether the stream still has the event.

    ``settle_s``: how long the end of the context waits for the ledger; the rest stays on disk.
    """

    republish_s: float = 10.0
    settle_s: float = 1.5


@dataclass(slots=True)
class _Sent:
    """A published event without a watermark: its stream sequence, last check and number of publications."""

    event: StoredEvent
    stream_seq: int
    seen_at: float
    published_unix_ms: int
    times: int = 1


@dataclass(slots=True)
class Outbox:
    """Durable queue of usage events, one per process and file. Open it with `Outbox.open`."""

    _bus: Bus
    _stream: UsageStream
    _timing: OutboxTiming
    _thread: ThreadPoolExecutor
    _file: OutboxFile
    _written: int = 0
    _published: int = 0
    _watermark: int = 0
    _floor: int = 0
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _unwritten: list[tuple[str, TenantId, int, str]] = field(default_factory=list)
    _writing: asyncio.Task[None] | None = None
    _work: asyncio.Event = field(default_factory=asyncio.Event)
    _marked: asyncio.Event = field(default_factory=asyncio.Event)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, bus: Bus, role: UsageRole, process: str, timing: OutboxTiming | None = None
    ) -> AsyncIterator["Outbox"]:
        """Open or create the file of a process and publish what an earlier run left in it.

        Raises:
            OutboxError: the file cannot be used, or another process has it open.
        """
        chosen = timing or OutboxTiming()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox") as thread:
            file = await loop.run_in_executor(thread, OutboxFile, path, process)
            outbox = cls(bus, UsageStream(bus, role, process), chosen, thread, file)
            try:
                async with outbox._running():
                    yield outbox
                    if not await outbox.settled(chosen.settle_s):
                        get_logger().warning("outbox_left", reason="not_settled", path=str(path))
            finally:
                if outbox._writing is not None:
                    await asyncio.wait([outbox._writing])
                await loop.run_in_executor(thread, file.close)

    @property
    def source(self) -> str:
        """The name of this file in metering's watermarks."""
        return self._file.source

    async def store(self, tenant: TenantId, data: UsageData) -> None:
        """Store a usage event: when this returns it is on disk and will be delivered to the ledger.

        Raises:
            OutboxError: it is not stored; the process must accept no new calls.
            pydantic.ValidationError: ``tenant`` is not a valid tenant id.
        """
        event_id, made, text = uuid4().hex, clock.unix_ms(), data.model_dump_json()
        self._sealed(StoredEvent(1, event_id, tenant, made, text), data)  # an invalid one would block all behind it
        self._unwritten.append((event_id, tenant, made, text))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="outbox write")
        try:
            await asyncio.shield(self._writing)  # other callers share the write
        except OutboxError as exc:
            metrics.OUTBOX_EVENTS.labels("refused").inc()
            get_logger().error("outbox_refused", reason="disk", error=str(exc))
            raise
        metrics.OUTBOX_EVENTS.labels("written").inc()
        self._work.set()

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the ledger has everything stored so far; False when it has not after ``timeout_s``."""
        all_so_far = self._written
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._acknowledged_seq < all_so_far:
                    self._moved.clear()
                    await self._moved.wait()
        return self._acknowledged_seq >= all_so_far

    @property
    def _acknowledged_seq(self) -> int:
        """The highest number in the ledger. Numbers above those published by this run do not count: another file's."""
        return min(self._watermark, self._published)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        subscription = await self._bus.subscribe(self._stream.watermarks(self.source), self._on_watermark)
        self._work.set()
        self._written = await self._in_thread(self._file.newest)
        await self._note_oldest()
        loops = (self._publish_new, self._free, self._republish_lost, self._measure)
        running = [asyncio.create_task(_repeat(each), name=f"outbox {each.__name__}") for each in loops]
        try:
            yield
        finally:
            await cancellation.cancel(*running)
            with contextlib.suppress(OutboxError):  # the events are deleted later
                await self._free_acknowledged()
            with contextlib.suppress(NatsError):  # a closed connection has no subscription either
                await subscription.unsubscribe()

    async def _write(self) -> None:
        """Write all events of the last loop iteration in one transaction: fsync and thread switch are the cost."""
        events, self._unwritten, self._writing = self._unwritten, [], None
        self._written = await self._in_thread(lambda: self._file.append(events))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: the write goes on when its caller is cancelled, and the file must not close under it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    # --- publishing ------------------------------------------------------------------------------------------------

    async def _publish_new(self) -> None:
        """Publish the stored events, in order, one after the other."""
        await self._work.wait()
        self._work.clear()
        while len(self._sent) < _MAX_UNCONFIRMED:
            batch = await self._in_thread(lambda: self._file.after(self._published, _BATCH))
            if not batch:
                return
            self._floor = self._floor or batch[0].seq
            for event in batch:
                published_unix_ms = clock.unix_ms()
                stream_seq = await self._publish(event, message_id=event.event_id)
                self._published = event.seq
                self._moved.set()  # the watermark may have arrived before this line
                self._sent[event.seq] = _Sent(event, stream_seq, clock.monotonic(), published_unix_ms)
                metrics.OUTBOX_EVENTS.labels("published").inc()

    async def _publish(self, event: StoredEvent, *, message_id: str) -> int:
        """Publish one event; returns its stream sequence."""
        sealed = self._sealed(event, UsageData.model_validate_json(event.data))
        return await self._stream.publish(sealed, message_id=message_id)

    def _sealed(self, event: StoredEvent, data: UsageData) -> UsageEvent:
        return usage_event(
            data,
            event_id=event.event_id,
            source=self.source,
            tenant=event.tenant,
            time=datetime.fromtimestamp(event.made_unix_ms / 1000, UTC),
            sequence=event.seq,
            floor=min(self._floor or event.seq, event.seq),
        )

    # --- watermarks ------------------------------------------------------------------------------------------------

    def _on_watermark(self, _subject: str, data: bytes) -> None:
        try:
            mark = messages.expect(Watermark, data)
        except MalformedMessageError as exc:
            get_logger().warning("watermark_malformed", reason="malformed", error=str(exc))
            return
        self._watermark = max(self._watermark, mark.sequence)
        self._moved.set()
        self._marked.set()

    async def _free(self) -> None:
        """Delete events that the ledger has, in batches."""
        await self._marked.wait()
        await asyncio.sleep(_FREE_PAUSE_S)
        self._marked.clear()
        await self._free_acknowledged()

    async def _free_acknowledged(self) -> None:
        up_to = self._acknowledged_seq
        if up_to < self._floor or not self._floor:
            return
        freed = await self._in_thread(lambda: self._file.free(up_to))
        metrics.OUTBOX_EVENTS.labels("freed").inc(freed)
        for seq in [seq for seq in self._sent if seq <= up_to]:
            del self._sent[seq]
        self._floor = up_to + 1
        self._work.set()

    async def _republish_lost(self) -> None:
        """Publish again what has no watermark and is no longer in the stream: the event or its watermark was lost."""
        await asyncio.sleep(self._timing.republish_s / 4)
        waiting = sorted(seq for seq in self._sent if seq > self._acknowledged_seq)[:_BATCH]
        for sent in [self._sent[seq] for seq in waiting]:
            patience = self._timing.republish_s * min(2 ** (sent.times - 1), 32)
            if clock.monotonic() - sent.seen_at < patience or not self._stream.connected:
                continue
            missing = not await self._stream.has(sent.stream_seq, since_unix_ms=sent.published_unix_ms)
            if missing and sent.event.seq > self._acknowledged_seq:  # not removed by an acknowledgement
                # Another message id: within its window the stream would drop the copy as a duplicate.
                again = f"{sent.event.event_id}.{sent.times}"
                sent.published_unix_ms = clock.unix_ms()
                sent.stream_seq = await self._publish(sent.event, message_id=again)
                sent.times += 1
                metrics.OUTBOX_EVENTS.labels("republished").inc()
            sent.seen_at = clock.monotonic()

    async def _measure(self) -> None:
        await self._note_oldest()
        await asyncio.sleep(1.0)

    async def _note_oldest(self) -> None:
        oldest = await self._in_thread(self._file.oldest)
        metrics.OUTBOX_OLDEST.set(max(0, clock.unix_ms() - oldest[1]) / 1000 if oldest else 0)


async def _repeat(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat ``step`` for ever, also after errors: the disk and the server may fail and recover."""
    while True:
        try:
            await step()
        except (OutboxError, NatsError, TimeoutError) as exc:
            get_logger().warning("outbox_failed", reason=type(exc).__name__, step=step.__name__, error=str(exc))
            await asyncio.sleep(_MAX_PAUSE_S / 5)
        except Exception:  # noqa: BLE001 - the edge of a task: the outbox must go on for the other events
            get_logger().exception("outbox_failed", reason="internal", step=step.__name__)
            await asyncio.sleep(_MAX_PAUSE_S)
