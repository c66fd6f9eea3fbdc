"""From JetStream to the ledger: fetch a batch, book it in one transaction, acknowledge, say the watermark."""

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
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from services.contracts import subjects
from services.contracts.messages import Watermark
from services.metering import metrics
from services.metering.core.totals import Totals
from services.metering.dialect import LedgerError
from services.metering.store import Delivery, Ledger, Recorded
from services.runtime import clock, streams, tasks, tracing
from services.runtime.bus import Bus
from services.runtime.health import Health
from services.runtime.logging import get_logger
from services.runtime.tracing import Tracer

BATCH = 100
CONSUMER = "metering"
_LAST_FETCH_S = 0.1
_LAST_S = 2.0
_ACK_TIMEOUT_S = 2.0
_MIN_PAUSE_S = 0.2
_MAX_PAUSE_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Feed:
    """One stream, and what to do with its messages. ``ack_wait_s``: a batch that is not acknowledged comes again.

    ``queue``: the stream keeps nothing that was acknowledged, so a new consumer starts where the old one was.
    """

    stream: str
    subject: str
    ensure: Callable[[Bus], Awaitable[None]]
    record: Callable[[Sequence[Delivery], datetime], Recorded]
    queue: bool
    ack_wait_s: float = 30.0


def usage_feed(ledger: Ledger) -> Feed:
    """Usage events."""
    return Feed(
        stream=subjects.USAGE_STREAM,
        subject=subjects.USAGE_SUBJECTS,
        ensure=lambda bus: streams.ensure_usage_stream(bus.jetstream, store_mb=bus.store_mb, adjust=True),
        record=lambda batch, now: ledger.record(batch, now=now),
        queue=True,
    )


def calls_feed(ledger: Ledger) -> Feed:
    """Beginnings and ends of calls."""
    return Feed(
        stream=subjects.CALLS_STREAM,
        subject=subjects.CALLS_SUBJECTS,
        ensure=lambda bus: streams.ensure_calls_stream(bus.jetstream, store_mb=bus.store_mb, adjust=True),
        record=lambda batch, now: ledger.record_calls(batch, now=now),
        queue=False,
    )


@dataclass(slots=True)
class Recorder:
    """Carries feeds into the ledger until it is told to stop; then what is there already, and no more.

    ``fetch_s``: after so long without a message it looks whether the server still has its consumer.
    """

    bus: Bus
    thread: Executor
    totals: Totals
    health: Health
    stopping: asyncio.Event
    fetch_s: float = 1.0
    tracer: Tracer = field(default_factory=Tracer)

    async def carry(self, feed: Feed) -> None:
        """Run ``feed``; NATS and the ledger may go away and come back."""
        pause = _MIN_PAUSE_S
        while not self.stopping.is_set():
            try:
                subscription = await self._soon(self._subscribe(feed))
                if subscription is None:
                    return
                pause = _MIN_PAUSE_S
                try:
                    await self._carry(feed, subscription)
                finally:
                    await subscription.unsubscribe()
            except NatsError as exc:
                metrics.FEED_ERRORS.labels("fetch").inc()
                get_logger().warning("ledger_feed_lost", reason="nats", stream=feed.stream, error=str(exc))
                await self._rest(pause)
                pause = min(2 * pause, _MAX_PAUSE_S)

    async def _forget_consumer(self, feed: Feed) -> None:
        # What a killed process had fetched would wait for its time-out. We hold the ledger's lock, so that one is gone.
        with contextlib.suppress(NotFoundError):
            await self.bus.jetstream.delete_consumer(feed.stream, CONSUMER)

    async def _subscribe(self, feed: Feed) -> JetStreamContext.PullSubscription:
        await feed.ensure(self.bus)
        if feed.queue:
            await self._forget_consumer(feed)
        return await self.bus.jetstream.pull_subscribe(
            feed.subject,
            durable=CONSUMER,
            stream=feed.stream,
            config=ConsumerConfig(
                ack_policy=AckPolicy.EXPLICIT, ack_wait=feed.ack_wait_s, max_ack_pending=10 * BATCH, max_deliver=-1
            ),
        )

    async def _carry(self, feed: Feed, subscription: JetStreamContext.PullSubscription) -> None:
        last: float | None = None
        while last is None or clock.monotonic() < last:
            if self.stopping.is_set() and last is None:
                last = clock.monotonic() + _LAST_S
            try:
                batch = await self._soon(subscription.fetch(BATCH, timeout=self.fetch_s))
            except TimeoutError:  # nats-py's own is one, and it raises the plain one, too
                batch = None
            if batch:
                await self._carry_batch(feed, batch)
            elif last is not None:
                return
            elif not self.stopping.is_set():
                await self._soon(subscription.consumer_info())  # raises when the server has lost it: made again then

    async def _soon(self, asked: Coroutine[Any, Any, T]) -> T | None:
        """What the server answers; None when we stop and it does not within a moment."""
        asking, stopping = asyncio.create_task(asked), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({asking}, timeout=_LAST_FETCH_S)  # at once if it is done; else there may be half a batch
        finally:
            stopping.cancel()
            await tasks.end(asking)
        return None if asking.cancelled() else asking.result()

    async def _carry_batch(self, feed: Feed, batch: Sequence[Msg]) -> None:
        began_ns = clock.unix_ns()
        recorded = await self._record(feed, [Delivery(msg.subject, msg.data) for msg in batch])
        if recorded is None:
            return
        self._trace(batch, began_ns)
        self._count(recorded)
        acks = await asyncio.gather(*(msg.ack_sync(timeout=_ACK_TIMEOUT_S) for msg in batch), return_exceptions=True)
        lost = [ack for ack in acks if isinstance(ack, BaseException)]
        if lost:  # they come again and are duplicates then
            metrics.FEED_ERRORS.labels("ack").inc(len(lost))
            get_logger().warning("ledger_ack_lost", reason="nats", count=len(lost), error=str(lost[0]))
        for source, sequence in recorded.marks.items():
            await self.bus.publish(subjects.watermark(source), Watermark(source=source, sequence=sequence))

    def _trace(self, batch: Sequence[Msg], began_ns: int) -> None:
        """Of calls, whose messages say where in their trace they are."""
        for msg in batch:
            if (asked := tracing.asked_by(msg.headers)).context is not None:
                with asked.current():
                    span = self.tracer.begin("record", kind="server", start_ns=began_ns)
                span.note(subject=msg.subject)
                span.end()

    async def _record(self, feed: Feed, batch: Sequence[Delivery]) -> Recorded | None:
        """Book until the database does it; None when we stop before."""
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
                await self._rest(pause)
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

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return
