"""One transaction of the ledger: each message is booked, held until it fits, or kept in quarantine."""

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
from services.metering import aside, history, placements, rows, tables
from services.metering.aside import Aside, Delivery
from services.metering.core import fitting, reading
from services.metering.core.ceiling import Ceiling, seconds_since
from services.metering.core.fitting import Facts, Misfit, Rules
from services.metering.core.ledger import Booked, Duplicate, Known, Rejected, advance, judge
from services.metering.core.pricing import Books
from services.metering.core.reading import Place, Read, Reason, Unbookable
from services.metering.core.totals import Growth, growth
from services.runtime.logging import get_logger

_AWAY = (OperationalError, InterfaceError, DisconnectionError)
"""The database, not the message: the whole batch is tried again."""
_REMEMBERED = 10_000
_SWEPT = 100
"""So many at a time, so that the next batch need not wait for long."""

_MARK = select(tables.source.c.watermark).where(tables.source.c.source == bindparam("source"))
_BEYOND = union_all(
    *(
        select(table.c.outboxseq).where(table.c.source == bindparam("source"), table.c.outboxseq > bindparam("mark"))
        for table in (tables.event, tables.quarantine, tables.held)
    )
)
"""What the ledger has of an outbox behind its watermark."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is booked. ``hold``: how long something that does not fit yet waits for what would make it fit."""

    ceiling: Ceiling = field(default_factory=lambda: Ceiling(nano_per_minute=20 * 10**9))
    hold: timedelta = timedelta(seconds=60)


@dataclass(slots=True)
class Recorded:
    """What a committed batch did. ``marks``: the watermark of each outbox that was heard; ``processes``: its owner."""

    results: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    growth: list[Growth] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)

    def heard(self, place: Place | None) -> None:
        """An outbox said where it is."""
        if place is not None:
            self.floors[place.source] = max(place.floor, self.floors.get(place.source, 1))
            self.processes[place.source] = place.process


class KnownCalls:
    """What is known of the calls of late, so that the database need not be asked for every event."""

    def __init__(self) -> None:
        self._facts: OrderedDict[CallId, Facts] = OrderedDict()

    def facts(self, db: Connection, call: CallId) -> Facts:
        """What is known of ``call``."""
        known = self._facts.get(call)
        if known is None:
            known = placements.facts(db, call)
            if known.placement is not None:
                self._facts[call] = known
                if len(self._facts) > _REMEMBERED:
                    self._facts.popitem(last=False)
        return known

    def forget(self, call: CallId) -> None:
        """There is more to know of ``call``."""
        self._facts.pop(call, None)

    def clear(self) -> None:
        """A transaction came to nothing, and with it what was read in it."""
        self._facts.clear()


@dataclass(frozen=True, slots=True)
class _Refused:
    why: Unbookable
    may_fit: bool = False


@dataclass(slots=True)
class Booking:
    """Made for a transaction; what it did is in ``done``."""

    db: Connection
    books: Books
    rules: Rules
    terms: Terms
    calls: KnownCalls
    now: datetime
    done: Recorded = field(default_factory=Recorded)
    _again: list[CallId] = field(default_factory=list)

    def take_all(self, batch: Iterable[Delivery]) -> None:
        """Book usage, and note what media says of calls; keep aside what does not fit."""
        for delivery in batch:
            refused = self._tried(delivery)
            if refused is not None:
                self._keep_aside(delivery, refused)
            self._retry_all()

    def place_all(self, batch: Iterable[Delivery]) -> None:
        """Note what signaling says of calls, and book what has waited for them."""
        for delivery in batch:
            placed = _tried(self.db, partial(placements.note, self.db, delivery.body, self.now))
            if placed is None:
                self._keep_aside(delivery, _Refused(Unbookable(Reason.MALFORMED, None)))
                continue
            self.calls.forget(placed.call)
            self._again.append(placed.call)
            self._retry_all()

    def sweep(self) -> None:
        """Let go of what was held long enough, and book what somebody released."""
        for each in aside.overdue(self.db, self.now - self.terms.hold, _SWEPT):
            refused = self._tried(each.delivery, patient=False)
            if refused is None:
                aside.booked(self.db, each, self.now)
            else:
                self._count(refused.why)
                aside.expired(self.db, each, refused.why, self.now)
        for each in aside.to_release(self.db, _SWEPT):
            refused = self._tried(each.delivery, forced=True)
            if refused is None:
                aside.booked(self.db, each, self.now)
                get_logger().info("usage_released", number=each.number, reason=each.reason)
            else:
                aside.not_released(self.db, each)
                get_logger().error("usage_not_released", number=each.number, reason=refused.why.reason)
        self._retry_all()

    def close(self) -> Recorded:
        """Write how far outboxes are; gives what was done."""
        for source, floor in self.done.floors.items():
            self.done.marks[source] = _mark(self.db, source, floor)
        return self.done

    def _retry_all(self) -> None:
        while self._again:
            for each in aside.of_call(self.db, self._again.pop()):
                self._retry(each)

    def _retry(self, each: Aside) -> None:
        refused = self._tried(each.delivery)
        if refused is None:
            aside.booked(self.db, each, self.now)
        elif each.table is tables.held and not refused.may_fit:
            self._count(refused.why)
            aside.expired(self.db, each, refused.why, self.now)

    def _keep_aside(self, delivery: Delivery, refused: _Refused) -> None:
        self.done.heard(refused.why.place)
        if refused.may_fit:
            if aside.hold(self.db, delivery, refused.why, self.now):
                self.done.results["held"] += 1
            return
        self._count(refused.why)
        aside.quarantine(self.db, delivery, refused.why, self.now)

    def _count(self, why: Unbookable) -> None:
        self.done.results["quarantined"] += 1
        self.done.reasons[why.reason] += 1

    def _tried(self, delivery: Delivery, *, patient: bool = True, forced: bool = False) -> _Refused | None:
        """``patient``: it may be held. ``forced``: somebody has looked, and wants it booked as it is."""
        if delivery.subject.startswith("hg.calls."):
            return self._history(delivery, forced=forced)
        read = reading.read(delivery.body, subject=delivery.subject)
        if isinstance(read, Unbookable):
            return _Refused(read)
        wrong = None if forced else self._misfit(read, patient=patient)
        if wrong is not None:
            return _Refused(Unbookable(wrong.reason, read.place, read.event.data.call_id), wrong.may_fit)
        verdict = _tried(self.db, partial(self._book, read, delivery, forced=forced)) or Rejected(Reason.INTERNAL)
        if isinstance(verdict, Rejected):
            return _Refused(Unbookable(verdict.reason, read.place, read.event.data.call_id))
        self.done.heard(read.place)
        self._note_owner(read)
        return None

    def _misfit(self, read: Read, *, patient: bool) -> Misfit | None:
        event, sender = read.event, read.sender
        if sender is None:
            return None if self._is_earlier(event.time) else Misfit(Reason.WRONG_SUBJECT)
        wrong = fitting.misfit(event, sender, self._facts(event.data.call_id))
        if wrong is None or (wrong.reason is Reason.NO_CALL and self._is_earlier(event.time)):
            return None
        unheard = wrong.reason is Reason.UNCLAIMED and not patient and fitting.is_unheard(event)
        return None if unheard else wrong

    def _facts(self, call: CallId) -> Facts:
        return self.calls.facts(self.db, call)

    def _is_earlier(self, made: datetime) -> bool:
        return self.rules.is_earlier(made, now=self.now)

    def _note_owner(self, read: Read) -> None:
        if read.sender is None:
            return
        call = read.event.data.call_id
        facts = self._facts(call)
        said = fitting.owner_said(read.event, read.sender, facts) if facts.placement else None
        if said is not None:
            placements.own(self.db, call, fitting.key_of(read.event.data), said)
            self.calls.forget(call)
            self._again.append(call)

    def _book(self, read: Read, delivery: Delivery, *, forced: bool) -> Booked | Duplicate | Rejected:
        event = read.event
        known = rows.known(self.db, event)
        verdict = judge(event, known, self.books, now=self.now)
        if isinstance(verdict, Booked):
            if not forced and (over := self._exceeded(event.data.call_id, known, verdict)):
                return Rejected(over)
            received = rows.to_ms(self.now)
            position = rows.add_event(self.db, event, delivery.body.decode(), received_ms=received)
            rows.save_held(self.db, verdict.held)
            rows.save_lines(self.db, verdict.lines)
            for journal in verdict.journals:
                rows.add_journal(self.db, journal, event_position=position, booked_ms=received)
            history.seen(self.db, event)
            self.done.growth += growth(known.lines, verdict.lines)
            self.done.results["booked" if verdict.journals else "superseded"] += 1
        elif isinstance(verdict, Duplicate):
            self.done.results["duplicate"] += 1
        return verdict

    def _exceeded(self, call: CallId, known: Known, verdict: Booked) -> Reason | None:
        totals: Counter[Meter] = Counter()
        cost = 0
        for key, line in {**known.lines, **verdict.lines}.items():
            totals[key.meter] += line.quantity
            cost += line.cost_nano
        seconds = seconds_since(self._facts(call).placement, self.now)
        return self.terms.ceiling.exceeded(totals, cost, seconds=seconds)

    def _history(self, delivery: Delivery, *, forced: bool) -> _Refused | None:
        record = history.read(delivery.body)
        if record is None:
            return _Refused(Unbookable(Reason.MALFORMED, None))
        wrong = None if forced else history.misfit(delivery.subject, record, self._facts(record.call), now=self.now)
        if wrong is not None and not (
            wrong.reason in (Reason.NO_CALL, Reason.WRONG_SUBJECT) and self._is_earlier(rows.at(record.started_unix_ms))
        ):
            return _Refused(Unbookable(wrong.reason, None, record.call), wrong.may_fit)
        noted = _tried(self.db, lambda: history.note(self.db, record))
        return None if noted else _Refused(Unbookable(Reason.INTERNAL, None, record.call))


def _tried(db: Connection, work: Callable[[], T]) -> T | None:
    """Do ``work`` whole or not at all; None when the message breaks it, which must not stop all behind it."""
    try:
        with db.begin_nested():
            return work()
    except _AWAY:
        raise
    except Exception:  # noqa: BLE001 - see above
        get_logger().exception("message_not_booked", reason=Reason.INTERNAL)
        return None


def _mark(db: Connection, source: str, floor: int) -> int:
    mark = db.scalar(_MARK, {"source": source}) or 0
    reached = advance(mark, floor, db.scalars(_BEYOND, {"source": source, "mark": mark}))
    if reached > mark:
        rows.save_source(db, source, reached)
    return reached
