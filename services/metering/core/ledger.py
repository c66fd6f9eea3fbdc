"""Apply usage events to the ledger. The sums do not depend on the order of events or on duplicates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from services.contracts.ids import CallId, SessionId, TenantId
from services.contracts.usage import TIME_METERS, Meter, UsageEvent
from services.metering.core.counterfactual import saved_nano
from services.metering.core.pricing import Books, PriceBook, price
from services.metering.core.reading import Reason

MAX_SKEW = timedelta(minutes=5)
MAX_LATE = timedelta(days=35)
MAX_TOTAL = 2**60
"""Maximum of a total; larger ones are errors, and their sums could overflow a BIGINT."""
EXACT = -1
"""Epoch of exact meters, whose quantity is the same whichever worker reports it."""


@dataclass(frozen=True, slots=True)
class MeterKey:
    """Key of a cumulative meter, counted once. ``ref`` is empty for time meters."""

    tenant: TenantId
    call: CallId
    session: SessionId
    epoch: int
    ref: str
    meter: Meter


@dataclass(frozen=True, slots=True)
class MeterReading:
    """Current reading of a meter key; ``seq``: the producer's number of the event that reported it."""

    quantity: int
    seq: int
    provider: str
    model: str


@dataclass(frozen=True, slots=True, order=True)
class LineKey:
    """Key of a line of a call's bill."""

    tenant: TenantId
    call: CallId
    provider: str
    model: str
    meter: Meter


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """Total of a call for one meter. ``price_book`` is empty until a book prices it."""

    quantity: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    price_book: str = ""
    unpriced: bool = False


@dataclass(frozen=True, slots=True)
class Posting:
    """One amount of a journal on one account."""

    account: str
    amount_nano: int


@dataclass(frozen=True, slots=True)
class Journal:
    """Increase of one line; its postings sum to zero."""

    key: LineKey
    quantity: int
    price_book: str
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """State of the ledger for an event, its keys and its call. ``content``: hash of the event with the same id."""

    content: str | None
    readings: Mapping[MeterKey, MeterReading]
    lines: Mapping[LineKey, LedgerLine]
    started: datetime | None


@dataclass(frozen=True, slots=True)
class Booked:
    """New readings and lines, and their journals. No journals: a later event had already reported more."""

    readings: Mapping[MeterKey, MeterReading]
    lines: Mapping[LineKey, LedgerLine]
    journals: tuple[Journal, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The ledger already has this event."""


@dataclass(frozen=True, slots=True)
class UsageRejected:
    """The event goes to quarantine."""

    reason: Reason


Decision = Booked | Duplicate | UsageRejected


def decide(event: UsageEvent, state: LedgerState, books: Books, *, now: datetime) -> Decision:
    """Decide whether and how ``event`` is booked, given the ledger's ``state``."""
    if state.content is not None:
        return Duplicate() if state.content == event.contenthash else UsageRejected(Reason.CHANGED)
    fault = _untimely(event.time, now) or _contradiction(event, state.readings)
    if fault:
        return UsageRejected(fault)
    before = state.readings
    readings = {key: new for key, new in _readings(event) if new.quantity > _quantity(before.get(key))}
    readings |= {key: new for key, new in _readings(event) if key not in before}
    grown = {key.meter: new.quantity - _quantity(before.get(key)) for key, new in readings.items()}
    booked = _book(event, grown, state, books)
    if any(line.quantity > MAX_TOTAL or line.cost_nano > MAX_TOTAL for line in booked.lines.values()):
        return UsageRejected(Reason.IMPLAUSIBLE)
    return replace(booked, readings=readings)


def meter_keys(event: UsageEvent) -> list[MeterKey]:
    """Return the meter keys that ``event`` reports."""
    return [key for key, _ in _readings(event)]


def line_keys(event: UsageEvent) -> list[LineKey]:
    """Return the keys of the lines that ``event`` can increase."""
    data = event.data
    return [LineKey(event.subject, data.call_id, data.provider, data.model, meter) for meter in data.meters]


def reprice(key: LineKey, line: LedgerLine, book: PriceBook) -> tuple[LedgerLine, Journal | None]:
    """Price a line that had no price; return it with the journal of the change, None if nothing changed."""
    return _priced(key, line, replace(line, price_book=book.name), book, grown=0)


def book_of(lines: Mapping[LineKey, LedgerLine], provider: str, books: Books, on: date) -> PriceBook | None:
    """Return the book that the call's lines of ``provider`` already use, else the one valid ``on`` its first day."""
    fixed = {line.price_book for key, line in lines.items() if key.provider == provider and line.price_book}
    return books.named(min(fixed)) if fixed else books.valid(provider, on)


def advance(mark: int, floor: int, present: Iterable[int]) -> int:
    """Return an outbox's new watermark: all up to it is in the ledger (``present``) or below the outbox's ``floor``."""
    mark = max(mark, floor - 1)
    for number in sorted(present):
        if number == mark + 1:
            mark = number
    return mark


def _untimely(time: datetime, now: datetime) -> Reason | None:
    if time > now + MAX_SKEW:
        return Reason.FUTURE
    return Reason.TOO_LATE if time < now - MAX_LATE else None


def _contradiction(event: UsageEvent, readings: Mapping[MeterKey, MeterReading]) -> Reason | None:
    for key, reading in _readings(event):
        before = readings.get(key)
        if before is None:
            continue
        if (reading.provider, reading.model) != (before.provider, before.model):
            return Reason.CHANGED
        if key.epoch == EXACT and reading.quantity != before.quantity:
            return Reason.CHANGED
        # A smaller reading with a lower number only arrived late.
        if reading.quantity < before.quantity and reading.seq > before.seq:
            return Reason.SHRUNK
    return None


def _readings(event: UsageEvent) -> list[tuple[MeterKey, MeterReading]]:
    data = event.data
    return [
        (
            MeterKey(
                tenant=event.subject,
                call=data.call_id,
                session=data.session_id,
                epoch=data.epoch if meter in TIME_METERS else EXACT,
                ref="" if meter in TIME_METERS else data.provider_ref,
                meter=meter,
            ),
            MeterReading(quantity, data.seq, data.provider, data.model),
        )
        for meter, quantity in data.meters.items()
    ]


def _quantity(reading: MeterReading | None) -> int:
    return reading.quantity if reading else 0


def _book(event: UsageEvent, grown: Mapping[Meter, int], state: LedgerState, books: Books) -> Booked:
    data = event.data
    book = book_of(state.lines, data.provider, books, (state.started or event.time).date())
    lines: dict[LineKey, LedgerLine] = {}
    journals: list[Journal] = []
    for meter, growth in grown.items():
        key = LineKey(event.subject, data.call_id, data.provider, data.model, meter)
        before = state.lines.get(key, LedgerLine())
        after = replace(before, quantity=before.quantity + growth, price_book=book.name if book else "")
        lines[key], journal = _priced(key, before, after, book, grown=growth)
        if journal:
            journals.append(journal)
    return Booked({}, lines, tuple(journals))


def _priced(
    key: LineKey, before: LedgerLine, after: LedgerLine, book: PriceBook | None, *, grown: int
) -> tuple[LedgerLine, Journal | None]:
    if book is None and before.price_book:
        # The book was removed: what is booked stays, and the increase is unpriced.
        kept = replace(before, quantity=after.quantity, unpriced=True)
        return kept, Journal(key, grown, before.price_book, ()) if grown else None
    priced = price(book, key.model, key.meter, after.quantity)
    rate = book.rate(key.model) if book else None
    saved = saved_nano(rate, after.quantity) if key.meter is Meter.AUDIO_GATED_MS else 0
    line = replace(after, cost_nano=priced.nano, unpriced=priced.unpriced, saved_nano=saved)
    growth = line.cost_nano - before.cost_nano
    if not grown and not growth:
        return line, None
    return line, Journal(key, grown, line.price_book, _postings(key, growth, charged=book is None or book.charged))


def _postings(key: LineKey, nano: int, *, charged: bool) -> tuple[Posting, ...]:
    """Debit the tenant's cost account, credit the provider's: `payable`, or `notional` if it sends no bill."""
    if not nano:
        return ()
    creditor = "payable" if charged else "notional"
    return Posting(f"cost:{key.tenant}", nano), Posting(f"{creditor}:{key.provider}", -nano)
