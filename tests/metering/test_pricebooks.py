"""The shipped price books, and an operator's own."""

from datetime import date
from pathlib import Path

import pytest

from services.contracts.usage import Meter
from services.metering.core.pricing import Books, MeterKind
from services.metering.pricebooks import PriceBookError, load_books

OWN = """
provider: {provider}
charged: true
editions:
  - valid_from: "2026-02-01"
    source: our contract
    models:
      "*": {{meter_kind: session_seconds, prices: {{session_ms: "3 / hour"}}}}
"""


@pytest.mark.parametrize(
    ("provider", "model", "meter", "nano"),
    [
        ("openai", "gpt-realtime-2.1", Meter.TOKENS_AUDIO_IN, 32_000),
        ("openai", "gpt-realtime-2.1", Meter.TOKENS_AUDIO_IN_CACHED, 400),
        ("openai", "gpt-realtime-2.1", Meter.TOKENS_AUDIO_OUT, 64_000),
        ("openai", "gpt-realtime-2.1", Meter.TOKENS_TEXT_OUT, 24_000),
        ("openai", "gpt-realtime-2.1-mini", Meter.TOKENS_AUDIO_IN, 10_000),
        ("openai", "gpt-realtime-2.1-mini", Meter.TOKENS_TEXT_IN_CACHED, 60),
        ("openai", "gpt-4o-transcribe", Meter.TRANSCRIBE_TOKENS_OUT, 10_000),
        ("rehearsal", "whatever", Meter.TOKENS_AUDIO_OUT, 64_000),
        ("rehearsal", "whatever", Meter.TRANSCRIBE_MS, 0),
        ("xai", "grok-voice", Meter.ITEMS_CREATED, 4_000_000),
        ("xai", "grok-voice", Meter.AUDIO_SENT_MS, 833),
    ],
)
def test_a_unit_costs_what_the_provider_lists(books: Books, provider: str, model: str, meter: Meter, nano: int) -> None:
    book = books.valid(provider, date(2026, 11, 20))
    assert book is not None
    rate = book.rate(model)
    assert rate is not None
    assert rate.prices[meter].nano(1) == nano


def test_only_the_rehearsal_is_not_charged(books: Books) -> None:
    found = [books.valid(provider, date(2026, 11, 20)) for provider in ("openai", "xai", "rehearsal")]
    assert [book and book.charged for book in found] == [True, True, False]


def test_an_operator_adds_a_provider_with_one_file(tmp_path: Path, books: Books) -> None:
    (tmp_path / "acme.yaml").write_text(OWN.format(provider="acme"))
    more = load_books(tmp_path)
    assert len(more) == len(books) + 1
    assert more.named("acme@2026-02-01") is not None


def test_an_operator_replaces_the_prices_of_a_provider(tmp_path: Path) -> None:
    (tmp_path / "openai.yaml").write_text(OWN.format(provider="openai"))
    mine = load_books(tmp_path)
    assert mine.named("openai@2026-01-01") is None
    book = mine.valid("openai", date(2026, 11, 20))
    assert book is not None
    assert book.rates[0].kind is MeterKind.SESSION_SECONDS


def test_a_directory_without_books_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceBookError, match="METERING_PRICE_BOOKS"):
        load_books(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"), [("{", "cannot be read: while parsing"), ("provider: acme", "charged: Field required")]
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "acme.yaml").write_text(content)
    with pytest.raises(PriceBookError, match=expected) as caught:
        load_books(tmp_path)
    assert "acme.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_files_of_one_provider_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(OWN.format(provider="acme"))
    with pytest.raises(PriceBookError, match=r"provider acme is also in a\.yaml"):
        load_books(tmp_path)
