"""Prices: which quantity costs how much by which book. Money is integer nano-dollars."""

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
    """What a provider bills, and so what can save money there."""

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
"""The meters that cost money by kind; what is used of one that a book has no price for is `unpriced`."""

BILLED_BY_SOMEBODY: frozenset[Meter] = frozenset().union(*BILLED.values())


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """``usd`` for ``per`` units of a meter."""

    usd: Decimal
    per: int

    def nano(self, quantity: int) -> int:
        """The price of ``quantity`` in nano-dollars, exact, then rounded half-even once."""
        return round(Fraction(self.usd) * NANO * quantity / self.per)


@dataclass(frozen=True, slots=True)
class Rate:
    """What a book says about the models that match ``pattern``."""

    pattern: str
    kind: MeterKind
    prices: Mapping[Meter, UnitPrice]

    def bills(self, meter: Meter) -> bool:
        """Whether the provider charges for ``meter``, known price or not."""
        return meter in BILLED[self.kind]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The prices of one provider from ``valid_from`` on. ``charged``: somebody really sends a bill."""

    provider: str
    valid_from: date
    charged: bool
    source: str
    rates: tuple[Rate, ...]

    @property
    def name(self) -> str:
        """`provider@date`."""
        return f"{self.provider}@{self.valid_from.isoformat()}"

    def rate(self, model: str) -> Rate | None:
        """The most specific match: the whole name, else the pattern with the most letters of its own."""
        fitting = [rate for rate in self.rates if fnmatchcase(model, rate.pattern)]
        return max(fitting, key=lambda rate: _specificity(rate.pattern), default=None)


def _specificity(pattern: str) -> tuple[bool, int]:
    wild = sum(pattern.count(sign) for sign in "*?[")
    return wild == 0, len(pattern) - wild


class Books:
    """All price books."""

    def __init__(self, books: Iterable[PriceBook]) -> None:
        self._by_name = {book.name: book for book in sorted(books, key=lambda book: book.valid_from)}

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> PriceBook | None:
        """The book that a call was fixed to."""
        return self._by_name.get(name)

    def valid(self, provider: str, on: date) -> PriceBook | None:
        """The book that holds for calls of ``provider`` that start ``on`` that day (UTC)."""
        held = [book for book in self._by_name.values() if book.provider == provider and book.valid_from <= on]
        return held[-1] if held else None


@dataclass(frozen=True, slots=True)
class Priced:
    """What a quantity costs. ``unpriced``: it costs something that no book knows; the alert goes with it."""

    nano: int
    unpriced: bool


def price(book: PriceBook | None, model: str, meter: Meter, quantity: int) -> Priced:
    """Price the total of a call: never the growth of one event, whose rounding would depend on the order."""
    rate = book.rate(model) if book else None
    if quantity == 0 or (meter not in BILLED_BY_SOMEBODY if rate is None else not rate.bills(meter)):
        return Priced(0, unpriced=False)
    unit = rate.prices.get(meter) if rate else None
    return Priced(unit.nano(quantity), unpriced=False) if unit else Priced(0, unpriced=True)
