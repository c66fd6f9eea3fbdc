"""Price quantities by price books. Money is integer nano-dollars."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from fractions import Fraction

from services.contracts.usage import Meter

NANO = 10**9


class MeterKind(StrEnum):
    """What a provider bills for a model: tokens, audio time, session time, or transcription only."""

    RESPONSE_TOKENS = "response_tokens"
    AUDIO_SECONDS = "audio_seconds"
    SESSION_SECONDS = "session_seconds"
    TRANSCRIPTION = "transcription"


TRANSCRIBE_METERS = frozenset({Meter.TRANSCRIBE_MS, Meter.TRANSCRIBE_TOKENS_IN, Meter.TRANSCRIBE_TOKENS_OUT})
TOKEN_METERS = frozenset(meter for meter in Meter if meter.startswith("tokens_"))
AUDIO_METERS = frozenset({Meter.AUDIO_SENT_MS, Meter.AUDIO_GENERATED_MS, Meter.ITEMS_CREATED})

BILLED: Mapping[MeterKind, frozenset[Meter]] = {
    MeterKind.RESPONSE_TOKENS: TOKEN_METERS | TRANSCRIBE_METERS,
    MeterKind.AUDIO_SECONDS: AUDIO_METERS | TRANSCRIBE_METERS,
    MeterKind.SESSION_SECONDS: frozenset({Meter.SESSION_MS}) | TRANSCRIBE_METERS,
    MeterKind.TRANSCRIPTION: TRANSCRIBE_METERS,
}
"""Billed meters of each kind; usage of one that the book does not price is `unpriced`."""

BILLED_METERS: frozenset[Meter] = frozenset().union(*BILLED.values())


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """``usd`` for ``per`` units of a meter."""

    usd: Decimal
    per: int

    def nano(self, quantity: int) -> int:
        """Return the price of ``quantity`` in nano-dollars, computed exactly and rounded half-even once."""
        return round(Fraction(self.usd) * NANO * quantity / self.per)


@dataclass(frozen=True, slots=True)
class PriceRule:
    """Meter kind and unit prices of the models that match ``pattern``."""

    pattern: str
    kind: MeterKind
    prices: Mapping[Meter, UnitPrice]

    def bills(self, meter: Meter) -> bool:
        """Return whether the provider charges for ``meter``, whether or not the price is known."""
        return meter in BILLED[self.kind]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices of one provider from ``valid_from`` on. ``charged``: the provider sends a bill."""

    provider: str
    valid_from: date
    charged: bool
    source: str
    rates: tuple[PriceRule, ...]

    @property
    def name(self) -> str:
        """Name of the book: `provider@date`."""
        return f"{self.provider}@{self.valid_from.isoformat()}"

    def rate(self, model: str) -> PriceRule | None:
        """Return the most specific rule for ``model``: exact name, else the longest literal pattern."""
        fitting = [rate for rate in self.rates if fnmatchcase(model, rate.pattern)]
        return max(fitting, key=lambda rate: _specificity(rate.pattern), default=None)


def _specificity(pattern: str) -> tuple[bool, int]:
    wild = sum(pattern.count(sign) for sign in "*?[")
    return wild == 0, len(pattern) - wild


class Books:
    """All price books, by name and by provider."""

    def __init__(self, books: Iterable[PriceBook]) -> None:
        self._by_name = {book.name: book for book in sorted(books, key=lambda book: book.valid_from)}

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> PriceBook | None:
        """Return the book of that name, or None."""
        return self._by_name.get(name)

    def valid(self, provider: str, on: date) -> PriceBook | None:
        """Return the book for calls of ``provider`` that start ``on`` that day (UTC), or None."""
        held = [book for book in self._by_name.values() if book.provider == provider and book.valid_from <= on]
        return held[-1] if held else None


@dataclass(frozen=True, slots=True)
class Priced:
    """Cost of a quantity. ``unpriced``: it is billed, but no book has its price; an alert fires."""

    nano: int
    unpriced: bool


def price(book: PriceBook | None, model: str, meter: Meter, quantity: int) -> Priced:
    """Price the total of a call: never the growth of one event, whose rounding would depend on the order."""
    rate = book.rate(model) if book else None
    if quantity == 0 or (meter not in BILLED_METERS if rate is None else not rate.bills(meter)):
        return Priced(0, unpriced=False)
    unit = rate.prices.get(meter) if rate else None
    return Priced(unit.nano(quantity), unpriced=False) if unit else Priced(0, unpriced=True)
