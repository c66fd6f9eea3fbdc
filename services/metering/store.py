"""The ledger: books batches of messages, one transaction each, and answers queries. Blocking; one thread writes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from services.metering import dialect, history, placements, rows, tables
from services.metering.booking import Booking, BookingRules, FactsCache, Recorded
from services.metering.core.bill import BillBody, call_usage, tenant_usage
from services.metering.core.ledger import LedgerLine, LineKey, reprice
from services.metering.core.pricing import Books
from services.metering.core.totals import Growth, growth
from services.metering.core.validation import Rules
from services.metering.held_messages import InboundMessage
from services.metering.migrate import upgrade

T = TypeVar("T")


@dataclass(slots=True)
class Ledger:
    """The ledger's database; create it with `Ledger.open`."""

    engine: Engine
    books: Books
    terms: BookingRules
    _facts: FactsCache = field(default_factory=FactsCache)
    _rules: Rules = field(default_factory=Rules)

    @classmethod
    @contextmanager
    def open(cls, url: URL, books: Books, terms: BookingRules | None = None) -> Iterator["Ledger"]:
        """Open the ledger as its only writer while the block runs; migrates it first.

        Raises:
            LedgerInUseError: another metering process has it open.
            LedgerError: the database cannot be used.
        """
        engine = dialect.connect(url)
        try:
            with dialect.exclusive(engine):
                ledger = cls(engine, books, terms or BookingRules())
                ledger._in_transaction(upgrade)
                since = ledger._in_transaction(placements.known_since)
                ledger._rules = Rules(since)
                yield ledger
        finally:
            engine.dispose()

    def record(self, batch: Sequence[InboundMessage], *, now: datetime) -> Recorded:
        """Book usage events, starts and ends of calls in one transaction, durable when this returns.

        Raises:
            LedgerError: the transaction failed; the batch must be recorded again.
        """
        return self._booking(lambda booking: booking.book_batch(batch), now)

    def record_placed(self, batch: Sequence[InboundMessage], *, now: datetime) -> Recorded:
        """Record placements, and book what was held for them.

        Raises:
            LedgerError: the transaction failed; the batch must be recorded again.
        """
        return self._booking(lambda booking: booking.record_placements(batch), now)

    def sweep(self, *, now: datetime) -> Recorded:
        """Quarantine what was held for too long, and book what an operator released.

        Raises:
            LedgerError: the transaction failed.
        """
        return self._booking(Booking.sweep, now)

    def placed_from(self) -> datetime | None:
        """Return the time from which placements may be missing in the ledger; None: all may be.

        Raises:
            LedgerError: the database cannot be read.
        """
        return self._in_transaction(placements.read_from)

    def reprice(self, *, now: datetime) -> list[Growth]:
        """Price unpriced lines whose price is now in a book, each with its own journal; return the increases.

        Raises:
            LedgerError: the transaction failed.
        """

        def work(db: Connection) -> list[Growth]:
            unpriced = rows.lines(db, select(tables.line).where(tables.line.c.unpriced == 1))
            grown = (self._reprice_line(db, key, line, now) for key, line in unpriced.items())
            return [growth for growth in grown if growth]

        return self._in_transaction(work)

    def call_usage(self, tenant: str, call_id: str) -> BillBody | None:
        """Return the bill of a call, or None if this tenant has no such call.

        Raises:
            LedgerError: the database cannot be read.
        """

        def work(db: Connection) -> BillBody | None:
            call = history.find(db, tenant, call_id)
            if call is None:
                return None
            mine = select(tables.line).where(tables.line.c.tenant == tenant, tables.line.c.call_id == call_id)
            return call_usage(call, rows.lines(db, mine), self.books)

        return self._in_transaction(work)

    def tenant_usage(self, tenant: str, start: datetime, end: datetime) -> BillBody:
        """Return the sums of a tenant's calls that began in [``start``, ``end``).

        Raises:
            LedgerError: the database cannot be read.
        """

        def work(db: Connection) -> BillBody:
            begun = history.calls_begun(tenant, start, end)
            calls = db.scalar(select(func.count()).select_from(begun.subquery())) or 0
            return tenant_usage(start, end, calls, rows.lines(db, history.sums(tenant, begun)), self.books)

        return self._in_transaction(work)

    def totals(self) -> tuple[list[Growth], Counter[str], Counter[str]]:
        """Return the sums for the counters: all lines, the number of events by result, of quarantined ones by reason.

        Raises:
            LedgerError: the database cannot be read.
        """
        return self._in_transaction(lambda db: (history.all_sums(db), *history.results(db)))

    def _in_transaction(self, work: Callable[[Connection], T]) -> T:
        try:
            with self.engine.begin() as db:
                return work(db)
        except SQLAlchemyError as exc:
            raise dialect.failed(self.engine, exc) from exc

    def _booking(self, work: Callable[[Booking], None], now: datetime) -> Recorded:
        def booked(db: Connection) -> Recorded:
            booking = Booking(db, self.books, self._rules, self.terms, self._facts, now)
            work(booking)
            return booking.close()

        try:
            return self._in_transaction(booked)
        except BaseException:
            self._facts.clear()
            raise

    def _reprice_line(self, db: Connection, key: LineKey, line: LedgerLine, now: datetime) -> Growth | None:
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
