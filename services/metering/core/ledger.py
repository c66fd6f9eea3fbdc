"""What a usage event does to the ledger. The order of events cannot change the sums, nor can copies of them."""

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
"""A total beyond this is a mistake, and twice it would not fit a BIGINT."""
EXACT = -1
"""The epoch of exact meters: whichever worker reports them, they are the same."""


@dataclass(frozen=True, slots=True)
class MeterKey:
    """What is counted once. ``ref`` is empty for time meters."""

    tenant: TenantId
    call: CallId
    session: SessionId
    epoch: int
    ref: str
    meter: Meter


@dataclass(frozen=True, slots=True)
class Held:
    """The quantity that counts for a key, and the producer's number of the event that said so."""

    quantity: int
    seq: int
    provider: str
    model: str


@dataclass(frozen=True, slots=True, order=True)
class LineKey:
    """A line of a call's bill."""

    tenant: TenantId
    call: CallId
    provider: str
    model: str
    meter: Meter


@dataclass(frozen=True, slots=True)
class Line:
    """The total of a call for one meter. ``price_book`` is empty while there is none."""

    quantity: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    price_book: str = ""
    unpriced: bool = False


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a journal."""

    account: str
    amount_nano: int


@dataclass(frozen=True, slots=True)
class Journal:
    """One growth of one line; its postings sum to zero."""

    key: LineKey
    quantity: int
    price_book: str
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger has of the event, its keys and its call. ``content``: hash of the event with the same id."""

    content: str | None
    held: Mapping[MeterKey, Held]
    lines: Mapping[LineKey, Line]
    started: datetime | None


@dataclass(frozen=True, slots=True)
class Booked:
    """The new state and the journals that lead to it. Without journals the event was overtaken by a later one."""

    held: Mapping[MeterKey, Held]
    lines: Mapping[LineKey, Line]
    journals: tuple[Journal, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The ledger has this very event."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Kept aside."""

    reason: Reason


Verdict = Booked | Duplicate | Rejected


def judge(event: UsageEvent, known: Known, books: Books, *, now: datetime) -> Verdict:
    """Decide what ``event`` does."""
    if known.content is not None:
        return Duplicate() if known.content == event.contenthash else Rejected(Reason.CHANGED)
    fault = _untimely(event.time, now) or _contradiction(event, known.held)
    if fault:
        return Rejected(fault)
    held = {key: said for key, said in _said(event) if said.quantity > _quantity(known.held.get(key))}
    held |= {key: said for key, said in _said(event) if key not in known.held}
    grown = {key.meter: said.quantity - _quantity(known.held.get(key)) for key, said in held.items()}
    booked = _book(event, grown, known, books)
    if any(line.quantity > MAX_TOTAL or line.cost_nano > MAX_TOTAL for line in booked.lines.values()):
        return Rejected(Reason.IMPLAUSIBLE)
    return replace(booked, held=held)


def meter_keys(event: UsageEvent) -> list[MeterKey]:
    """The keys that ``event`` speaks about."""
    return [key for key, _ in _said(event)]


def line_keys(event: UsageEvent) -> list[LineKey]:
    """The lines that ``event`` can make grow."""
    data = event.data
    return [LineKey(event.subject, data.call_id, data.provider, data.model, meter) for meter in data.meters]


def reprice(key: LineKey, line: Line, book: PriceBook) -> tuple[Line, Journal | None]:
    """Price a line that had no price before; what that changes is a journal of its own."""
    return _priced(key, line, replace(line, price_book=book.name), book, grown=0)


def book_of(lines: Mapping[LineKey, Line], provider: str, books: Books, on: date) -> PriceBook | None:
    """The book that the call is fixed to with this provider, else the one of its first day."""
    fixed = {line.price_book for key, line in lines.items() if key.provider == provider and line.price_book}
    return books.named(min(fixed)) if fixed else books.valid(provider, on)


def advance(mark: int, floor: int, present: Iterable[int]) -> int:
    """The highest number up to which everything of an outbox is here or gone there."""
    mark = max(mark, floor - 1)
    for number in sorted(present):
        if number == mark + 1:
            mark = number
    return mark


def _untimely(time: datetime, now: datetime) -> Reason | None:
    if time > now + MAX_SKEW:
        return Reason.FUTURE
    return Reason.TOO_LATE if time < now - MAX_LATE else None


def _contradiction(event: UsageEvent, held: Mapping[MeterKey, Held]) -> Reason | None:
    for key, said in _said(event):
        before = held.get(key)
        if before is None:
            continue
        if (said.provider, said.model) != (before.provider, before.model):
            return Reason.CHANGED
        if key.epoch == EXACT and said.quantity != before.quantity:
            return Reason.CHANGED
        # Smaller and earlier was only overtaken on the way.
        if said.quantity < before.quantity and said.seq > before.seq:
            return Reason.SHRUNK
    return None


def _said(event: UsageEvent) -> list[tuple[MeterKey, Held]]:
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
            Held(quantity, data.seq, data.provider, data.model),
        )
        for meter, quantity in data.meters.items()
    ]


def _quantity(held: Held | None) -> int:
    return held.quantity if held else 0


def _book(event: UsageEvent, grown: Mapping[Meter, int], known: Known, books: Books) -> Booked:
    data = event.data
    book = book_of(known.lines, data.provider, books, (known.started or event.time).date())
    lines: dict[LineKey, Line] = {}
    journals: list[Journal] = []
    for meter, growth in grown.items():
        key = LineKey(event.subject, data.call_id, data.provider, data.model, meter)
        before = known.lines.get(key, Line())
        after = replace(before, quantity=before.quantity + growth, price_book=book.name if book else "")
        lines[key], journal = _priced(key, before, after, book, grown=growth)
        if journal:
            journals.append(journal)
    return Booked({}, lines, tuple(journals))


def _priced(
    key: LineKey, before: Line, after: Line, book: PriceBook | None, *, grown: int
) -> tuple[Line, Journal | None]:
    if book is None and before.price_book:
        # Its book was taken away: what is booked stays, and what it grew by waits for a price.
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
    """What the tenant's calls cost, against whom we owe it; `notional` when nobody sends a bill."""
    if not nano:
        return ()
    creditor = "payable" if charged else "notional"
    return Posting(f"cost:{key.tenant}", nano), Posting(f"{creditor}:{key.provider}", -nano)
