"""Usage on its way to the ledger: on the disk first, then JetStream, deleted only on metering's watermark.

Neither a crash of this process nor an acknowledged write that JetStream lost loses an event.
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
from services.contracts.ids import TenantId
from services.contracts.messages import MalformedMessageError, Watermark
from services.contracts.subjects import UsageRole
from services.contracts.usage import UsageData, UsageEvent, usage_event
from services.runtime import clock, metrics, tasks
from services.runtime.bus import Bus
from services.runtime.logging import get_logger
from services.runtime.outboxfile import Kept, OutboxError, OutboxFile
from services.runtime.usagestream import UsageStream

__all__ = ["Outbox", "OutboxError", "OutboxTiming"]

_BATCH = 100
_FREE_PAUSE_S = 0.25
"""The ledger says of each event that it has it; what is said within this time is deleted together."""
_MAX_UNCONFIRMED = 10_000
"""So many may be published without a watermark; the rest waits on the disk."""
_MAX_PAUSE_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OutboxTiming:
    """Seconds. ``heal_s``: without a watermark for so long we look whether the stream still has the event.

    ``settle_s``: how long the end of the context waits for the ledger; the rest stays on the disk.
    """

    heal_s: float = 10.0
    settle_s: float = 1.5


@dataclass(slots=True)
class _Sent:
    """An event without a watermark: its place in the stream, when we last looked, how often it was published."""

    event: Kept
    stream_seq: int
    seen_at: float
    published_unix_ms: int
    times: int = 1


@dataclass(slots=True)
class Outbox:
    """Made by `Outbox.open`; one per process and file."""

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
        """Open or make the file of a process and publish what an earlier life left in it.

        Raises:
            OutboxError: the file cannot be used, or another process uses it.
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
        """The name under which metering knows this file."""
        return self._file.source

    async def put(self, tenant: TenantId, data: UsageData) -> None:
        """Keep a usage event: when this returns it is on the disk and will reach the ledger.

        Raises:
            OutboxError: it is not kept; the process must take no new calls.
            pydantic.ValidationError: ``tenant`` is not one.
        """
        event_id, made, text = uuid4().hex, clock.unix_ms(), data.model_dump_json()
        self._sealed(Kept(1, event_id, tenant, made, text), data)  # what cannot be sealed would block all behind it
        self._unwritten.append((event_id, tenant, made, text))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="outbox write")
        try:
            await asyncio.shield(self._writing)  # it is others' write, too
        except OutboxError as exc:
            metrics.OUTBOX_EVENTS.labels("refused").inc()
            get_logger().error("outbox_refused", reason="disk", error=str(exc))
            raise
        metrics.OUTBOX_EVENTS.labels("written").inc()
        self._work.set()

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the ledger has all that was put so far; False when it has not after ``timeout_s``."""
        all_so_far = self._written
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._known < all_so_far:
                    self._moved.clear()
                    await self._moved.wait()
        return self._known >= all_so_far

    @property
    def _known(self) -> int:
        """Up to where the ledger has it. What this life has not published does not count: it may be of another file."""
        return min(self._watermark, self._published)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        subscription = await self._bus.listen(self._stream.watermarks(self.source), self._on_watermark)
        self._work.set()
        self._written = await self._in_thread(self._file.newest)
        await self._note_oldest()
        loops = (self._publish_new, self._free, self._heal, self._measure)
        running = [asyncio.create_task(_forever(each), name=f"outbox {each.__name__}") for each in loops]
        try:
            yield
        finally:
            await tasks.end(*running)
            with contextlib.suppress(OutboxError):  # it is only freed later, then
                await self._free_known()
            with contextlib.suppress(NatsError):  # a closed connection has no subscription either
                await subscription.unsubscribe()

    async def _write(self) -> None:
        """Write what was put in the last turn of the loop: it is the disk and the other thread that cost."""
        events, self._unwritten, self._writing = self._unwritten, [], None
        self._written = await self._in_thread(lambda: self._file.put(events))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: the write goes on when its caller is cancelled, and the file must not close under it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    # --- publishing ------------------------------------------------------------------------------------------------

    async def _publish_new(self) -> None:
        """Publish what is on the disk, in order, one after the other."""
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
                self._moved.set()  # the ledger may have been quicker than this
                self._sent[event.seq] = _Sent(event, stream_seq, clock.monotonic(), published_unix_ms)
                metrics.OUTBOX_EVENTS.labels("published").inc()

    async def _publish(self, event: Kept, *, message_id: str) -> int:
        """Gives its place in the stream."""
        sealed = self._sealed(event, UsageData.model_validate_json(event.data))
        return await self._stream.publish(sealed, message_id=message_id)

    def _sealed(self, event: Kept, data: UsageData) -> UsageEvent:
        return usage_event(
            data,
            event_id=event.event_id,
            source=self.source,
            tenant=event.tenant,
            time=datetime.fromtimestamp(event.made_unix_ms / 1000, UTC),
            sequence=event.seq,
            floor=min(self._floor or event.seq, event.seq),
        )

    # --- what metering says ----------------------------------------------------------------------------------------

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
        """Delete what the ledger has, together."""
        await self._marked.wait()
        await asyncio.sleep(_FREE_PAUSE_S)
        self._marked.clear()
        await self._free_known()

    async def _free_known(self) -> None:
        up_to = self._known
        if up_to < self._floor or not self._floor:
            return
        freed = await self._in_thread(lambda: self._file.free(up_to))
        metrics.OUTBOX_EVENTS.labels("freed").inc(freed)
        for seq in [seq for seq in self._sent if seq <= up_to]:
            del self._sent[seq]
        self._floor = up_to + 1
        self._work.set()

    async def _heal(self) -> None:
        """Publish again what has no watermark and is no longer in the stream: lost there, or its watermark was."""
        await asyncio.sleep(self._timing.heal_s / 4)
        waiting = sorted(seq for seq in self._sent if seq > self._known)[:_BATCH]
        for sent in [self._sent[seq] for seq in waiting]:
            patience = self._timing.heal_s * min(2 ** (sent.times - 1), 32)
            if clock.monotonic() - sent.seen_at < patience or not self._stream.connected:
                continue
            gone = not await self._stream.has(sent.stream_seq, since_unix_ms=sent.published_unix_ms)
            if gone and sent.event.seq > self._known:  # not because the ledger took it
                # Another message id: within its window the stream would drop the copy of what it no longer has.
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


async def _forever(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat ``step``; the disk and the server may fail and come back."""
    while True:
        try:
            await step()
        except (OutboxError, NatsError, TimeoutError) as exc:
            get_logger().warning("outbox_failed", reason=type(exc).__name__, step=step.__name__, error=str(exc))
            await asyncio.sleep(_MAX_PAUSE_S / 5)
        except Exception:  # noqa: BLE001 - the edge of a task: the outbox must go on for the other events
            get_logger().exception("outbox_failed", reason="internal", step=step.__name__)
            await asyncio.sleep(_MAX_PAUSE_S)
