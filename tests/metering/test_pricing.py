"""Prices are exact and rounded once."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.usage import MAX_QUANTITY, Meter
from services.metering.core.pricing import (
    Books,
    MeterKind,
    PriceBook,
    Priced,
    PriceRule,
    UnitPrice,
    price,
)

TOKENS = UnitPrice(Decimal(32), 1_000_000)
MINUTES = UnitPrice(Decimal("0.05"), 60_000)


def rate(pattern: str, kind: MeterKind = MeterKind.RESPONSE_TOKENS, **prices: UnitPrice) -> PriceRule:
    return PriceRule(pattern, kind, {Meter(name): unit for name, unit in prices.items()})


def book(*rates: PriceRule, day: str = "2026-01-01", provider: str = "acme") -> PriceBook:
    return PriceBook(provider, date.fromisoformat(day), charged=True, source="test", rates=rates)


def test_a_token_at_32_dollars_a_million_is_32000_nano() -> None:
    assert TOKENS.nano(1) == 32_000
    assert TOKENS.nano(1_000_000) == 32 * 10**9


@pytest.mark.parametrize(("quantity", "nano"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_half_a_nano_goes_to_the_even_side(quantity: int, nano: int) -> None:
    assert UnitPrice(Decimal("0.000000001"), 2).nano(quantity) == nano  # 0.5, 1.5, 2.5, 3.5


@given(st.integers(0, MAX_QUANTITY))
def test_no_quantity_is_too_large_to_be_exact(quantity: int) -> None:
    exact = quantity * 50_000_000
    assert abs(MINUTES.nano(quantity) * 60_000 - exact) * 2 <= 60_000


def test_the_whole_name_wins_over_a_pattern_and_the_longer_pattern_over_the_shorter() -> None:
    prices = book(rate("*"), rate("gpt-*"), rate("gpt-realtime-*"), rate("gpt-realtime-2"))
    found = [prices.rate(model) for model in ("gpt-realtime-2", "gpt-realtime-3", "gpt-5", "claude")]
    assert [each and each.pattern for each in found] == ["gpt-realtime-2", "gpt-realtime-*", "gpt-*", "*"]
    assert book(rate("gpt-*")).rate("claude") is None


def test_a_call_has_the_book_of_the_day_it_began() -> None:
    books = Books([book(day="2026-06-01"), book(day="2026-01-01"), book(day="2026-03-01", provider="other")])
    assert len(books) == 3
    valid = [books.valid("acme", date.fromisoformat(day)) for day in ("2026-05-31", "2026-06-01", "2025-12-31")]
    assert [each and each.name for each in valid] == ["acme@2026-01-01", "acme@2026-06-01", None]
    assert books.named("acme@2026-06-01") is valid[1]
    assert books.named("acme@1999-01-01") is None


def test_what_the_provider_does_not_bill_costs_nothing() -> None:
    prices = book(rate("*", tokens_audio_in=TOKENS))
    assert price(prices, "m", Meter.AUDIO_GATED_MS, 1000) == Priced(0, unpriced=False)


def test_what_the_provider_bills_and_the_book_does_not_know_is_unpriced() -> None:
    prices = book(rate("*", tokens_audio_in=TOKENS))
    assert price(prices, "m", Meter.TOKENS_AUDIO_IN, 2) == Priced(64_000, unpriced=False)
    assert price(prices, "m", Meter.TOKENS_IMAGE_IN, 2) == Priced(0, unpriced=True)
    assert price(prices, "m", Meter.TOKENS_IMAGE_IN, 0) == Priced(0, unpriced=False)


def test_without_a_book_everything_that_somebody_bills_is_unpriced() -> None:
    assert price(None, "m", Meter.SESSION_MS, 1).unpriced
    assert price(book(rate("x")), "m", Meter.AUDIO_SENT_MS, 1).unpriced
    assert not price(None, "m", Meter.AUDIO_PLAYED_MS, 1).unpriced
