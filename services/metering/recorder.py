"""From JetStream to the ledger: fetch a batch, book it in one transaction, acknowledge, publish watermarks."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from services.contracts import subjects
from services.contracts.call_history import Watermark
from services.metering import metrics
from services.metering.booking import Recorded
from services.metering.core.totals import Totals
from services.metering.dialect import LedgerError
from services.metering.held_messages import InboundMessage
from services.metering.store import Ledger
from services.runtime import clock
from services.runtime.bus import cancellation, streams
from services.runtime.bus.client import Bus
from services.runtime.process.health import Health
from services.runtime.telemetry import tracing
from services.runtime.telemetry.logging import get_logger
from services.runtime.telemetry.tracing import Tracer

BATCH = 100
CONSUMER = "metering"
SWEEP_S = 2.0
_LAST_FETCH_S = 0.1
_LAST_S = 2.0
_ACK_TIMEOUT_S = 2.0
_MIN_PAUSE_S = 0.2
_MAX_PAUSE_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Feed:
    """A stream and the function that records its messages. ``ack_wait_s``: then unacknowledged batches are redelivered.

    ``queue``: the stream deletes acknowledged messages, so a new consumer continues where the old one stopped.
    ``start``: the time at which a new consumer starts in a stream that keeps all; None: it keeps its position.
    """

    stream: str
    subject: str
    ensure: Callable[[Bus], Awaitable[None]]
    record: Callable[[Sequence[InboundMessage], datetime], Recorded]
    queue: bool = False
    start: Callable[[], datetime | None] | None = None
    ack_wait_s: float = 30.0


def usage_feed(ledger: Ledger) -> Feed:
    """Return the feed of usage events."""
    return Feed(
        stream=subjects.USAGE_STREAM,
        subject=subjects.USAGE_SUBJECTS,
        ensure=lambda bus: streams.ensure_usage_stream(bus.jetstream, store_mb=bus.store_mb, adjust=True),
        record=lambda batch, now: ledger.record(batch, now=now),
        queue=True,
    )


def calls_feed(ledger: Ledger) -> Feed:
    """Return the feed of starts and ends of calls."""
    return Feed(
        stream=subjects.CALLS_STREAM,
        subject=subjects.CALLS_SUBJECTS,
        ensure=lambda bus: streams.ensure_calls_stream(bus.jetstream, store_mb=bus.store_mb, adjust=True),
        record=lambda batch, now: ledger.record(batch, now=now),
    )


def placed_feed(ledger: Ledger) -> Feed:
    """Return the feed of placements. It starts before the ledger's last one: the ledger may be a restored copy."""
    return Feed(
        stream=subjects.PLACED_STREAM,
        subject=subjects.PLACED,
        ensure=lambda bus: streams.ensure_placed_stream(bus.jetstream, store_mb=bus.store_mb, adjust=True),
        record=lambda batch, now: ledger.record_placed(batch, now=now),
        start=ledger.placed_from,
    )


@dataclass(slots=True)
class Recorder:
    """Records feeds in the ledger until ``stopping`` is set, then what is already in the streams.

    ``fetch_s``: after so many seconds without a message it checks that its consumer still exists.
    """

    bus: Bus
    thread: Executor
    totals: Totals
    health: Health
    stopping: asyncio.Event
    fetch_s: float = 1.0
    tracer: Tracer = field(default_factory=Tracer)

    async def run_feed(self, feed: Feed) -> None:
        """Record ``feed`` until stopped; retries while NATS or the ledger is not available."""
        pause = _MIN_PAUSE_S
        while not self.stopping.is_set():
            try:
                subscription = await self._unless_stopping(self._subscribe(feed))
                if subscription is None:
                    return
                pause = _MIN_PAUSE_S
                try:
                    await self._record_batches(feed, subscription)
                finally:
                    await subscription.unsubscribe()
            except NatsError as exc:
                metrics.FEED_ERRORS.labels("fetch").inc()
                get_logger().warning("ledger_feed_lost", reason="nats", stream=feed.stream, error=str(exc))
                await self._pause(pause)
                pause = min(2 * pause, _MAX_PAUSE_S)

    async def _forget_consumer(self, feed: Feed) -> None:
        # Messages that a killed process had fetched would wait for `ack_wait_s`. As we hold the lock, it has ended.
        with contextlib.suppress(NotFoundError):
            await self.bus.jetstream.delete_consumer(feed.stream, CONSUMER)

    async def _subscribe(self, feed: Feed) -> JetStreamContext.PullSubscription:
        await feed.ensure(self.bus)
        start: datetime | None = None
        if feed.start is not None:
            start = await asyncio.get_running_loop().run_in_executor(self.thread, feed.start)
        if feed.queue or feed.start is not None:
            await self._forget_consumer(feed)
        return await self.bus.jetstream.pull_subscribe(
            feed.subject,
            durable=CONSUMER,
            stream=feed.stream,
            config=ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_TIME if start else DeliverPolicy.ALL,
                opt_start_time=start,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=feed.ack_wait_s,
                max_ack_pending=10 * BATCH,
                max_deliver=-1,
            ),
        )

    async def _record_batches(self, feed: Feed, subscription: JetStreamContext.PullSubscription) -> None:
        last: float | None = None
        while last is None or clock.monotonic() < last:
            if self.stopping.is_set() and last is None:
                last = clock.monotonic() + _LAST_S
            try:
                batch = await self._unless_stopping(subscription.fetch(BATCH, timeout=self.fetch_s))
            except TimeoutError:  # also the base class of nats-py's own
                batch = None
            if batch:
                await self._record_batch(feed, batch)
            elif last is not None:
                return
            elif not self.stopping.is_set():
                await self._unless_stopping(subscription.consumer_info())  # raises if the server lost it

    async def _unless_stopping(self, asked: Coroutine[Any, Any, T]) -> T | None:
        """Await ``asked``; None if the service stops and it does not complete within `_LAST_FETCH_S`."""
        asking, stopping = asyncio.create_task(asked), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({asking}, timeout=_LAST_FETCH_S)  # a partial batch may follow
        finally:
            stopping.cancel()
            await cancellation.cancel(asking)
        return None if asking.cancelled() else asking.result()

    async def _record_batch(self, feed: Feed, batch: Sequence[Msg]) -> None:
        began_ns = clock.unix_ns()
        recorded = await self._record(feed, [InboundMessage(msg.subject, msg.data) for msg in batch])
        if recorded is None:
            return
        self._trace(batch, began_ns)
        self._count(recorded)
        acks = await asyncio.gather(*(msg.ack_sync(timeout=_ACK_TIMEOUT_S) for msg in batch), return_exceptions=True)
        lost = [ack for ack in acks if isinstance(ack, BaseException)]
        if lost:  # JetStream redelivers them, and they are duplicates then
            metrics.FEED_ERRORS.labels("ack").inc(len(lost))
            get_logger().warning("ledger_ack_lost", reason="nats", count=len(lost), error=str(lost[0]))
        await self._publish_watermarks(recorded)

    async def _publish_watermarks(self, recorded: Recorded) -> None:
        for source, sequence in recorded.marks.items():
            subject = subjects.watermark(recorded.processes[source], source)
            await self.bus.publish(subject, Watermark(source=source, sequence=sequence))

    async def keep_sweeping(self, ledger: Ledger) -> None:
        """Sweep held and released messages every `SWEEP_S` until stopped."""
        while not self.stopping.is_set():
            await self._pause(SWEEP_S)
            try:
                recorded = await asyncio.get_running_loop().run_in_executor(
                    self.thread, lambda: ledger.sweep(now=clock.utc_now())
                )
            except LedgerError as exc:
                metrics.FEED_ERRORS.labels("commit").inc()
                get_logger().error("ledger_sweep_failed", reason="database", error=str(exc))
            else:
                self._count(recorded)
                await self._publish_watermarks(recorded)

    def _trace(self, batch: Sequence[Msg], began_ns: int) -> None:
        """Trace the recording of messages that run_feed a trace context."""
        for msg in batch:
            if (asked := tracing.remote_parent(msg.headers)).context is not None:
                with asked.current():
                    span = self.tracer.start_span("record", kind="server", start_ns=began_ns)
                span.set_attributes(subject=msg.subject)
                span.end()

    async def _record(self, feed: Feed, batch: Sequence[InboundMessage]) -> Recorded | None:
        """Record a batch, retrying while the database fails; None if the service stops first."""
        pause = _MIN_PAUSE_S
        while True:
            try:
                with metrics.COMMIT_DURATION.time():
                    recorded = await asyncio.get_running_loop().run_in_executor(
                        self.thread, feed.record, batch, clock.utc_now()
                    )
            except LedgerError as exc:
                self.health.blocked_by.add("ledger")
                metrics.FEED_ERRORS.labels("commit").inc()
                get_logger().error("ledger_write_failed", reason="database", error=str(exc))
                await self._pause(pause)
                pause = min(2 * pause, _MAX_PAUSE_S)
                if self.stopping.is_set():
                    return None
            else:
                self.health.blocked_by.discard("ledger")
                return recorded

    def _count(self, recorded: Recorded) -> None:
        self.totals.add(recorded.growth)
        self.totals.results.update(recorded.results)
        self.totals.reasons.update(recorded.reasons)
        for reason, count in recorded.reasons.items():
            get_logger().error("usage_quarantined", reason=reason, count=count)
        for grown in recorded.growth:
            if grown.unpriced:
                get_logger().error(
                    "usage_unpriced", reason="no_price", provider=grown.provider, model=grown.model, meter=grown.meter
                )

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return
