"""The ledger: books batches of messages in one transaction each, and answers. Blocking; one thread writes."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, union_all
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError, SQLAlchemyError

from services.contracts.usage import UsageEvent
from services.metering import dialect, history, rows, tables
from services.metering.core import reading
from services.metering.core.bill import Answer, call_usage, tenant_usage
from services.metering.core.ledger import Booked, Duplicate, Line, LineKey, Rejected, advance, judge, reprice
from services.metering.core.pricing import Books
from services.metering.core.reading import Place, Reason, Unbookable
from services.metering.core.totals import Growth, growth
from services.metering.migrate import upgrade
from services.runtime.logging import get_logger

_AWAY = (OperationalError, InterfaceError, DisconnectionError)
"""The database, not the message: the whole batch is tried again."""

_MARK = select(tables.source.c.watermark).where(tables.source.c.source == bindparam("source"))
_BEYOND = union_all(
    *(
        select(table.c.outboxseq).where(table.c.source == bindparam("source"), table.c.outboxseq > bindparam("mark"))
        for table in (tables.event, tables.quarantine)
    )
)
"""What the ledger has of an outbox behind its watermark."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came."""

    subject: str
    body: bytes


@dataclass(slots=True)
class Recorded:
    """What a committed batch did. ``marks``: the watermark of each outbox that was heard."""

    results: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    growth: list[Growth] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)

    def heard(self, place: Place | None) -> None:
        """An outbox said where it is."""
        if place is not None:
            self.floors[place.source] = max(place.floor, self.floors.get(place.source, 1))


@dataclass(slots=True)
class Ledger:
    """Made by `Ledger.open`."""

    engine: Engine
    books: Books

    @classmethod
    @contextmanager
    def open(cls, url: URL, books: Books) -> Iterator["Ledger"]:
        """Be the ledger's only writer while the block runs.

        Raises:
            LedgerInUseError: another metering process is.
            LedgerError: the database cannot be used.
        """
        engine = dialect.connect(url)
        try:
            with dialect.exclusive(engine):
                ledger = cls(engine, books)
                ledger._in_transaction(upgrade)
                yield ledger
        finally:
            engine.dispose()

    def record(self, batch: Sequence[Delivery], *, now: datetime) -> Recorded:
        """Book usage events; all of the batch is on the disk when this returns, or nothing is.

        Raises:
            LedgerError: the database does not do it; the batch must come again.
        """

        def work(db: Connection) -> Recorded:
            done = Recorded()
            for delivery in batch:
                self._record_one(db, delivery, done, now)
            for source, floor in done.floors.items():
                done.marks[source] = _mark(db, source, floor)
            return done

        return self._in_transaction(work)

    def record_calls(self, batch: Sequence[Delivery], *, now: datetime) -> Recorded:
        """Note beginnings and ends of calls.

        Raises:
            LedgerError: the database does not do it; the batch must come again.
        """

        def work(db: Connection) -> Recorded:
            done = Recorded()
            for delivery in batch:
                noted = _tried(db, partial(history.note, db, delivery.body))
                if not noted:
                    reason = Reason.INTERNAL if noted is None else Reason.MALFORMED
                    _quarantine(db, delivery, Unbookable(reason, None), done, now)
            return done

        return self._in_transaction(work)

    def reprice(self, *, now: datetime) -> list[Growth]:
        """Price what was booked without a price, if a book has one now: each by a journal of its own.

        Raises:
            LedgerError: the database does not do it.
        """

        def work(db: Connection) -> list[Growth]:
            unpriced = rows.lines(db, select(tables.line).where(tables.line.c.unpriced == 1))
            grown = (self._reprice_line(db, key, line, now) for key, line in unpriced.items())
            return [growth for growth in grown if growth]

        return self._in_transaction(work)

    def call_usage(self, tenant: str, call_id: str) -> Answer | None:
        """The bill of a call, None when this tenant has no such call.

        Raises:
            LedgerError: the database cannot be read.
        """

        def work(db: Connection) -> Answer | None:
            call = history.find(db, tenant, call_id)
            if call is None:
                return None
            mine = select(tables.line).where(tables.line.c.tenant == tenant, tables.line.c.call_id == call_id)
            return call_usage(call, rows.lines(db, mine), self.books)

        return self._in_transaction(work)

    def tenant_usage(self, tenant: str, start: datetime, end: datetime) -> Answer:
        """The sums of a tenant's calls that began in the period.

        Raises:
            LedgerError: the database cannot be read.
        """

        def work(db: Connection) -> Answer:
            begun = history.begun(tenant, start, end)
            calls = db.scalar(select(func.count()).select_from(begun.subquery())) or 0
            return tenant_usage(start, end, calls, rows.lines(db, history.sums(tenant, begun)), self.books)

        return self._in_transaction(work)

    def totals(self) -> tuple[list[Growth], Counter[str], Counter[str]]:
        """Everything that was ever booked, for the counters: growth from nothing, events by result and by reason.

        Raises:
            LedgerError: the database cannot be read.
        """
        return self._in_transaction(lambda db: (history.everything(db), *history.results(db)))

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        try:
            with self.engine.begin() as db:
                return work(db)
        except SQLAlchemyError as exc:
            raise dialect.failed(self.engine, exc) from exc

    def _record_one(self, db: Connection, delivery: Delivery, done: Recorded, now: datetime) -> None:
        read = reading.read(delivery.body, tenant=delivery.subject.rpartition(".")[2])
        if isinstance(read, UsageEvent):
            place = reading.place_of(read)
            verdict = _tried(db, partial(self._book, db, read, delivery, done, now)) or Rejected(Reason.INTERNAL)
            if not isinstance(verdict, Rejected):
                done.heard(place)
                return
            read = Unbookable(verdict.reason, place)
        _quarantine(db, delivery, read, done, now)

    def _book(
        self, db: Connection, event: UsageEvent, delivery: Delivery, done: Recorded, now: datetime
    ) -> Booked | Duplicate | Rejected:
        known = rows.known(db, event)
        verdict = judge(event, known, self.books, now=now)
        if isinstance(verdict, Booked):
            received = rows.to_ms(now)
            position = rows.add_event(db, event, delivery.body.decode(), received_ms=received)
            rows.save_held(db, verdict.held)
            rows.save_lines(db, verdict.lines)
            for journal in verdict.journals:
                rows.add_journal(db, journal, event_position=position, booked_ms=received)
            history.seen(db, event)
            done.growth += growth(known.lines, verdict.lines)
            done.results["booked" if verdict.journals else "superseded"] += 1
        elif isinstance(verdict, Duplicate):
            done.results["duplicate"] += 1
        return verdict

    def _reprice_line(self, db: Connection, key: LineKey, line: Line, now: datetime) -> Growth | None:
        call = history.find(db, key.tenant, key.call)
        day = (call.first_seen if call else now).date()
        book = self.books.named(line.price_book) if line.price_book else self.books.valid(key.provider, day)
        if book is None:
            return None
        after, journal = reprice(key, line, book)
        rows.save_lines(db, {key: after})
        if journal:
            rows.add_journal(db, journal, event_position=None, booked_ms=rows.to_ms(now))
        return growth({key: line}, {key: after})[0]


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


def _quarantine(db: Connection, delivery: Delivery, why: Unbookable, done: Recorded, now: datetime) -> None:
    done.results["quarantined"] += 1
    done.reasons[why.reason] += 1
    done.heard(why.place)
    digest = hashlib.sha256(delivery.body).hexdigest()
    if db.scalar(select(tables.quarantine.c.id).where(tables.quarantine.c.body_hash == digest)) is not None:
        return
    db.execute(
        insert(tables.quarantine).values(
            body_hash=digest,
            reason=why.reason,
            subject=delivery.subject,
            source=why.place.source if why.place else None,
            outboxseq=why.place.sequence if why.place else None,
            received_ms=rows.to_ms(now),
            body=delivery.body,
        )
    )


def _mark(db: Connection, source: str, floor: int) -> int:
    mark = db.scalar(_MARK, {"source": source}) or 0
    reached = advance(mark, floor, db.scalars(_BEYOND, {"source": source, "mark": mark}))
    if reached > mark:
        rows.save_source(db, source, reached)
    return reached
