"""The ledger: books batches of messages in one transaction each, and answers. Blocking; one thread writes."""

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
from services.metering.aside import Delivery
from services.metering.booking import Booking, KnownCalls, Recorded, Terms
from services.metering.core.bill import Answer, call_usage, tenant_usage
from services.metering.core.fitting import Rules
from services.metering.core.ledger import Line, LineKey, reprice
from services.metering.core.pricing import Books
from services.metering.core.totals import Growth, growth
from services.metering.migrate import upgrade

T = TypeVar("T")


@dataclass(slots=True)
class Ledger:
    """Made by `Ledger.open`."""

    engine: Engine
    books: Books
    terms: Terms
    _calls: KnownCalls = field(default_factory=KnownCalls)
    _rules: Rules = field(default_factory=Rules)

    @classmethod
    @contextmanager
    def open(cls, url: URL, books: Books, terms: Terms | None = None) -> Iterator["Ledger"]:
        """Be the ledger's only writer while the block runs.

        Raises:
            LedgerInUseError: another metering process is.
            LedgerError: the database cannot be used.
        """
        engine = dialect.connect(url)
        try:
            with dialect.exclusive(engine):
                ledger = cls(engine, books, terms or Terms())
                ledger._in_transaction(upgrade)
                since = ledger._in_transaction(placements.known_since)
                ledger._rules = Rules(since)
                yield ledger
        finally:
            engine.dispose()

    def record(self, batch: Sequence[Delivery], *, now: datetime) -> Recorded:
        """Book usage events and note what media says of calls; all of it is on the disk when this returns, or nothing.

        Raises:
            LedgerError: the database does not do it; the batch must come again.
        """
        return self._booking(lambda booking: booking.take_all(batch), now)

    def record_placed(self, batch: Sequence[Delivery], *, now: datetime) -> Recorded:
        """Note which calls there are, and book what has waited for them.

        Raises:
            LedgerError: the database does not do it; the batch must come again.
        """
        return self._booking(lambda booking: booking.place_all(batch), now)

    def sweep(self, *, now: datetime) -> Recorded:
        """Quarantine what has been held for too long, and book what was released.

        Raises:
            LedgerError: the database does not do it.
        """
        return self._booking(Booking.sweep, now)

    def placed_from(self) -> datetime | None:
        """From when on placements may be missing in the ledger; None: all may.

        Raises:
            LedgerError: the database cannot be read.
        """
        return self._in_transaction(placements.read_from)

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

    def _booking(self, work: Callable[[Booking], None], now: datetime) -> Recorded:
        def booked(db: Connection) -> Recorded:
            booking = Booking(db, self.books, self._rules, self.terms, self._calls, now)
            work(booking)
            return booking.close()

        try:
            return self._in_transaction(booked)
        except BaseException:
            self._calls.clear()
            raise

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
