"""One transaction of the ledger: each message is booked, held until it can be booked, or quarantined."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select, union_all
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError

from services.contracts.ids import CallId
from services.contracts.usage import Meter
from services.metering import held_messages, history, placements, rows, tables
from services.metering.core import reading, validation
from services.metering.core.ceiling import Ceiling, seconds_since
from services.metering.core.ledger import Booked, Duplicate, LedgerState, UsageRejected, advance, decide
from services.metering.core.pricing import Books
from services.metering.core.reading import OutboxPosition, Reason, ReceivedUsage, Unbookable
from services.metering.core.totals import Growth, growth
from services.metering.core.validation import Facts, Mismatch, Rules
from services.metering.held_messages import HeldMessage, InboundMessage
from services.runtime.telemetry.logging import get_logger

_DATABASE_ERRORS = (OperationalError, InterfaceError, DisconnectionError)
"""Errors of the database, not of a message: the whole batch is retried."""
_MAX_CACHED = 10_000
_MAX_SWEPT = 100
"""Maximum number of messages per sweep, so that the next batch does not wait for long."""

_MARK = select(tables.source.c.watermark).where(tables.source.c.source == bindparam("source"))
_ABOVE_MARK = union_all(
    *(
        select(table.c.outboxseq).where(table.c.source == bindparam("source"), table.c.outboxseq > bindparam("mark"))
        for table in (tables.event, tables.quarantine, tables.held)
    )
)
"""Sequence numbers of an outbox above its watermark that the ledger already has."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BookingRules:
    """Limits of booking. ``hold``: how long a message waits for the placement or session owner that it needs."""

    ceiling: Ceiling = field(default_factory=lambda: Ceiling(nano_per_minute=20 * 10**9))
    hold: timedelta = timedelta(seconds=60)


@dataclass(slots=True)
class Recorded:
    """Result of a committed batch. ``marks``: watermark of each outbox in the batch; ``processes``: its owner."""

    results: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    growth: list[Growth] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)

    def watermark_received(self, place: OutboxPosition | None) -> None:
        """Record an event's position in its outbox."""
        if place is not None:
            self.floors[place.source] = max(place.floor, self.floors.get(place.source, 1))
            self.processes[place.source] = place.process


class FactsCache:
    """Cache of the facts about recent calls, so that not every event needs a database query."""

    def __init__(self) -> None:
        self._facts: OrderedDict[CallId, Facts] = OrderedDict()

    def facts(self, db: Connection, call: CallId) -> Facts:
        """Return the facts about ``call``, from the cache or the database."""
        known = self._facts.get(call)
        if known is None:
            known = placements.facts(db, call)
            if known.placement is not None:
                self._facts[call] = known
                if len(self._facts) > _MAX_CACHED:
                    self._facts.popitem(last=False)
        return known

    def invalidate(self, call: CallId) -> None:
        """Remove ``call`` from the cache because its facts changed in the database."""
        self._facts.pop(call, None)

    def clear(self) -> None:
        """Empty the cache: the transaction that filled it was rolled back."""
        self._facts.clear()


@dataclass(frozen=True, slots=True)
class _BookingRefused:
    why: Unbookable
    may_resolve: bool = False


@dataclass(slots=True)
class Booking:
    """Books messages within one transaction; the result is in ``done``."""

    db: Connection
    books: Books
    rules: Rules
    terms: BookingRules
    calls: FactsCache
    now: datetime
    done: Recorded = field(default_factory=Recorded)
    _calls_to_retry: list[CallId] = field(default_factory=list)

    def book_batch(self, batch: Iterable[InboundMessage]) -> None:
        """Book usage and record starts and ends of calls; hold or quarantine what cannot be booked."""
        for delivery in batch:
            refused = self._try_booking(delivery)
            if refused is not None:
                self._hold_or_quarantine(delivery, refused)
            self._retry_all()

    def record_placements(self, batch: Iterable[InboundMessage]) -> None:
        """Record placements of calls, and book what was held for them."""
        for delivery in batch:
            placed = _in_savepoint(self.db, partial(placements.store_placement, self.db, delivery.body, self.now))
            if placed is None:
                self._hold_or_quarantine(delivery, _BookingRefused(Unbookable(Reason.MALFORMED, None)))
                continue
            self.calls.invalidate(placed.call)
            self._calls_to_retry.append(placed.call)
            self._retry_all()

    def sweep(self) -> None:
        """Quarantine what was held for too long, and book what an operator released."""
        for each in held_messages.overdue(self.db, self.now - self.terms.hold, _MAX_SWEPT):
            refused = self._try_booking(each.delivery, may_hold=False)
            if refused is None:
                held_messages.mark_booked(self.db, each, self.now)
            else:
                self._count(refused.why)
                held_messages.move_to_quarantine(self.db, each, refused.why, self.now)
        for each in held_messages.to_release(self.db, _MAX_SWEPT):
            refused = self._try_booking(each.delivery, forced=True)
            if refused is None:
                held_messages.mark_booked(self.db, each, self.now)
                get_logger().info("usage_released", number=each.number, reason=each.reason)
            else:
                held_messages.withdraw_release(self.db, each)
                get_logger().error("usage_not_released", number=each.number, reason=refused.why.reason)
        self._retry_all()

    def close(self) -> Recorded:
        """Write the outboxes' watermarks and return the result; the last call of the transaction."""
        for source, floor in self.done.floors.items():
            self.done.marks[source] = _mark(self.db, source, floor)
        return self.done

    def _retry_all(self) -> None:
        while self._calls_to_retry:
            for each in held_messages.of_call(self.db, self._calls_to_retry.pop()):
                self._retry(each)

    def _retry(self, each: HeldMessage) -> None:
        refused = self._try_booking(each.delivery)
        if refused is None:
            held_messages.mark_booked(self.db, each, self.now)
        elif each.table is tables.held and not refused.may_resolve:
            self._count(refused.why)
            held_messages.move_to_quarantine(self.db, each, refused.why, self.now)

    def _hold_or_quarantine(self, delivery: InboundMessage, refused: _BookingRefused) -> None:
        self.done.watermark_received(refused.why.place)
        if refused.may_resolve:
            if held_messages.hold(self.db, delivery, refused.why, self.now):
                self.done.results["held"] += 1
            return
        self._count(refused.why)
        held_messages.quarantine(self.db, delivery, refused.why, self.now)

    def _count(self, why: Unbookable) -> None:
        self.done.results["quarantined"] += 1
        self.done.reasons[why.reason] += 1

    def _try_booking(
        self, delivery: InboundMessage, *, may_hold: bool = True, forced: bool = False
    ) -> _BookingRefused | None:
        """Book a message, or return why not. ``may_hold``: else quarantine. ``forced``: an operator released it."""
        if delivery.subject.startswith("hg.calls."):
            return self._history(delivery, forced=forced)
        read = reading.read(delivery.body, subject=delivery.subject)
        if isinstance(read, Unbookable):
            return _BookingRefused(read)
        mismatch = None if forced else self._mismatch(read, may_hold=may_hold)
        if mismatch is not None:
            return _BookingRefused(
                Unbookable(mismatch.reason, read.place, read.event.data.call_id), mismatch.may_resolve
            )
        verdict = _in_savepoint(self.db, partial(self._book, read, delivery, forced=forced)) or UsageRejected(
            Reason.INTERNAL
        )
        if isinstance(verdict, UsageRejected):
            return _BookingRefused(Unbookable(verdict.reason, read.place, read.event.data.call_id))
        self.done.watermark_received(read.place)
        self._note_owner(read)
        return None

    def _mismatch(self, read: ReceivedUsage, *, may_hold: bool) -> Mismatch | None:
        event, sender = read.event, read.sender
        if sender is None:
            return None if self._is_earlier(event.time) else Mismatch(Reason.WRONG_SUBJECT)
        mismatch = validation.mismatch(event, sender, self._facts(event.data.call_id))
        if mismatch is None or (mismatch.reason is Reason.NO_CALL and self._is_earlier(event.time)):
            return None
        unclaimed = mismatch.reason is Reason.UNCLAIMED and not may_hold and validation.may_be_unclaimed(event)
        return None if unclaimed else mismatch

    def _facts(self, call: CallId) -> Facts:
        return self.calls.facts(self.db, call)

    def _is_earlier(self, made: datetime) -> bool:
        return self.rules.is_earlier(made, now=self.now)

    def _note_owner(self, read: ReceivedUsage) -> None:
        if read.sender is None:
            return
        call = read.event.data.call_id
        facts = self._facts(call)
        owner = validation.named_owner(read.event, read.sender, facts) if facts.placement else None
        if owner is not None:
            placements.store_owner(self.db, call, validation.key_of(read.event.data), owner)
            self.calls.invalidate(call)
            self._calls_to_retry.append(call)

    def _book(
        self, read: ReceivedUsage, delivery: InboundMessage, *, forced: bool
    ) -> Booked | Duplicate | UsageRejected:
        event = read.event
        state = rows.ledger_state(self.db, event)
        verdict = decide(event, state, self.books, now=self.now)
        if isinstance(verdict, Booked):
            if not forced and (over := self._exceeded(event.data.call_id, state, verdict)):
                return UsageRejected(over)
            received = rows.to_ms(self.now)
            position = rows.add_event(self.db, event, delivery.body.decode(), received_ms=received)
            rows.save_readings(self.db, verdict.readings)
            rows.save_lines(self.db, verdict.lines)
            for journal in verdict.journals:
                rows.add_journal(self.db, journal, event_position=position, booked_ms=received)
            history.ensure_call(self.db, event)
            self.done.growth += growth(state.lines, verdict.lines)
            self.done.results["booked" if verdict.journals else "superseded"] += 1
        elif isinstance(verdict, Duplicate):
            self.done.results["duplicate"] += 1
        return verdict

    def _exceeded(self, call: CallId, state: LedgerState, verdict: Booked) -> Reason | None:
        totals: Counter[Meter] = Counter()
        cost = 0
        for key, line in {**state.lines, **verdict.lines}.items():
            totals[key.meter] += line.quantity
            cost += line.cost_nano
        seconds = seconds_since(self._facts(call).placement, self.now)
        return self.terms.ceiling.exceeded(totals, cost, seconds=seconds)

    def _history(self, delivery: InboundMessage, *, forced: bool) -> _BookingRefused | None:
        record = history.read(delivery.body)
        if record is None:
            return _BookingRefused(Unbookable(Reason.MALFORMED, None))
        mismatch = (
            None if forced else history.mismatch(delivery.subject, record, self._facts(record.call), now=self.now)
        )
        if mismatch is not None and not (
            mismatch.reason in (Reason.NO_CALL, Reason.WRONG_SUBJECT)
            and self._is_earlier(rows.at(record.started_unix_ms))
        ):
            return _BookingRefused(Unbookable(mismatch.reason, None, record.call), mismatch.may_resolve)
        noted = _in_savepoint(self.db, lambda: history.store(self.db, record))
        return None if noted else _BookingRefused(Unbookable(Reason.INTERNAL, None, record.call))


def _in_savepoint(db: Connection, work: Callable[[], T]) -> T | None:
    """Run ``work`` in a savepoint; None if it raises, so that one message does not block those after it."""
    try:
        with db.begin_nested():
            return work()
    except _DATABASE_ERRORS:
        raise
    except Exception:  # noqa: BLE001 - see above
        get_logger().exception("message_not_booked", reason=Reason.INTERNAL)
        return None


def _mark(db: Connection, source: str, floor: int) -> int:
    mark = db.scalar(_MARK, {"source": source}) or 0
    reached = advance(mark, floor, db.scalars(_ABOVE_MARK, {"source": source, "mark": mark}))
    if reached > mark:
        rows.save_source(db, source, reached)
    return reached
