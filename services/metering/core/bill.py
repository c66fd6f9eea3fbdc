"""JSON answers of the usage API: the bill of a call and the sums of a tenant."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from pydantic import JsonValue

from services.contracts.usage import Meter
from services.metering.core.counterfactual import saved_note
from services.metering.core.ledger import LedgerLine, LineKey, book_of
from services.metering.core.pricing import NANO, Books, PriceBook, PriceRule, UnitPrice

BillBody = dict[str, JsonValue]
Lines = Mapping[LineKey, LedgerLine]
_NANO_PLACES = Decimal(1) / NANO


@dataclass(frozen=True, slots=True)
class BilledCall:
    """A call in the ledger. ``first_seen``: its start, or the time of its first usage."""

    call_id: str
    provider: str
    model: str
    first_seen: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ended_reason: str | None = None


def usd(nano: int) -> str:
    """Format nano-dollars as dollars with all nine decimal places, unrounded."""
    return format((Decimal(nano) / NANO).quantize(_NANO_PLACES), "f")


def call_usage(call: BilledCall, lines: Lines, books: Books) -> BillBody:
    """Return the bill of one call; it is final once the call has ended and all usage is booked."""
    day = call.first_seen.date()
    book = book_of(lines, call.provider, books, day)
    return {
        "object": "call.usage",
        "call_id": call.call_id,
        "status": "live" if call.ended_at is None else "ended",
        "ended_reason": call.ended_reason,
        "started_at": _iso(call.started_at),
        "ended_at": _iso(call.ended_at),
        "provider": call.provider,
        "model": call.model,
        "price_book": book.name if book else "",
        "charged": book is None or book.charged,
        **_sums(lines, _rates(lines, books, day) or _rates_of(book, call.model)),
        "lines": _priced_lines(lines, books),
    }


def tenant_usage(start: datetime, end: datetime, calls: int, lines: Lines, books: Books) -> BillBody:
    """Return the sums of the calls that began in [``start``, ``end``); ``lines`` are their totals."""
    by_model: dict[tuple[str, str], dict[LineKey, LedgerLine]] = defaultdict(dict)
    for key, line in lines.items():
        by_model[key.provider, key.model][key] = line
    parts: list[JsonValue] = [
        {"provider": provider, "model": model, **_sums(part, _rates(part, books, end.date()))}
        for (provider, model), part in sorted(by_model.items())
    ]
    return {
        "object": "usage",
        "from": _iso(start),
        "to": _iso(end),
        "calls": calls,
        **_sums(lines, _rates(lines, books, end.date())),
        "by_model": parts,
    }


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def _rates(lines: Lines, books: Books, day: date) -> list[PriceRule]:
    found = (_rates_of(book_of(lines, key.provider, books, day), key.model) for key in lines)
    return [rate for rates in found for rate in rates]


def _rates_of(book: PriceBook | None, model: str) -> list[PriceRule]:
    rate = book.rate(model) if book else None
    return [rate] if rate else []


def _sums(lines: Lines, rates: Iterable[PriceRule]) -> BillBody:
    meters: dict[Meter, int] = defaultdict(int)
    for key, line in lines.items():
        meters[key.meter] += line.quantity
    sent, generated = meters[Meter.AUDIO_SENT_MS], meters[Meter.AUDIO_GENERATED_MS]
    played = meters[Meter.AUDIO_PLAYED_MS]
    cost = sum(line.cost_nano for line in lines.values())
    saved = sum(line.saved_nano for line in lines.values())
    return {
        "meters": {str(meter): meters[meter] for meter in Meter if meters[meter]},
        "sent_seconds": sent / 1000,
        "gated_seconds": meters[Meter.AUDIO_GATED_MS] / 1000,
        "generated_seconds": generated / 1000,
        "played_seconds": played / 1000,
        "unheard_seconds": max(0, generated - played) / 1000,
        "billed_seconds": (sent + generated) / 1000,
        "cost_nano_usd": cost,
        "cost_usd": usd(cost),
        "saved_nano_usd": saved,
        "saved_usd": usd(saved),
        "saved_note": saved_note(rate.kind for rate in rates),
        "unpriced": any(line.unpriced for line in lines.values()),
    }


def _priced_lines(lines: Lines, books: Books) -> list[JsonValue]:
    rows: list[JsonValue] = []
    for key, line in sorted(lines.items()):
        unit = _unit_price(books.named(line.price_book), key)
        if line.quantity and (unit or line.unpriced):
            rows.append(_row(key, line, unit))
    return rows


def _unit_price(book: PriceBook | None, key: LineKey) -> UnitPrice | None:
    rate = book.rate(key.model) if book else None
    return rate.prices.get(key.meter) if rate else None


def _row(key: LineKey, line: LedgerLine, unit: UnitPrice | None) -> BillBody:
    return {
        "provider": key.provider,
        "model": key.model,
        "meter": key.meter,
        "quantity": line.quantity,
        "price_usd": format(unit.usd, "f") if unit else None,
        "per": unit.per if unit else None,
        "cost_nano_usd": line.cost_nano,
        "unpriced": line.unpriced,
    }
