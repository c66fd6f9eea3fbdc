"""Invalid price books are refused with the file, the key and the expected value."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest

from services.contracts.usage import Meter
from services.metering.core.books import BadBookError, parse
from services.metering.core.pricing import MeterKind, UnitPrice

GOOD: dict[str, Any] = {
    "provider": "acme",
    "charged": True,
    "editions": [
        {
            "valid_from": "2026-01-01",
            "source": "their page",
            "models": {
                "talk-*": {
                    "meter_kind": "audio_seconds",
                    "prices": {
                        "audio_sent_ms": "0.05 / minute",
                        "audio_generated_ms": "3 / hour",
                        "items_created": "0.004 / item",
                        "transcribe_tokens_in": "0 / 1M tokens",
                    },
                }
            },
        }
    ],
}


def test_a_book_says_what_costs_how_much() -> None:
    (book,) = parse(GOOD, file="acme.yaml")
    assert (book.name, book.charged, book.source) == ("acme@2026-01-01", True, "their page")
    rate = book.rate("talk-1")
    assert rate is not None
    assert rate.kind is MeterKind.AUDIO_SECONDS
    assert rate.prices[Meter.AUDIO_SENT_MS] == UnitPrice(Decimal("0.05"), 60_000)
    assert rate.prices[Meter.AUDIO_GENERATED_MS] == UnitPrice(Decimal(3), 3_600_000)
    assert rate.prices[Meter.ITEMS_CREATED] == UnitPrice(Decimal("0.004"), 1)
    assert rate.prices[Meter.TRANSCRIBE_TOKENS_IN] == UnitPrice(Decimal(0), 1_000_000)


MODEL = ("editions", 0, "models", "talk-*")
PRICES = (*MODEL, "prices")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("provider",), "Acme Inc", "provider: String should match"),
        (("charged",), "yes", "charged: Input should be a valid boolean"),
        (("surprise",), 1, "surprise: Extra inputs are not permitted"),
        (("editions",), [], "editions: List should have at least 1 item"),
        (("editions", 0, "valid_from"), "last May", "editions.0.valid_from: Value error, Invalid isoformat"),
        ((*MODEL, "meter_kind"), "vibes", "meter_kind: Input should be 'response_tokens', 'audio_seconds'"),
        ((*PRICES, "audio_sent_ms"), 0.05, "audio_sent_ms: Input should be a valid string"),
        ((*PRICES, "audio_sent_ms"), "0.05", 'audio_sent_ms: write dollars and unit like "0.05 / second" or'),
        ((*PRICES, "audio_sent_ms"), "0.05 / 1M tokens", 'like "0.05 / second" or "0.05 / minute" or "0.05 / hour"'),
        ((*PRICES, "items_created"), "-1 / item", 'items_created: write dollars and unit like "0.05 / item"'),
        (
            (*PRICES, "transcribe_tokens_in"),
            "1 / minute",
            'transcribe_tokens_in: write dollars and unit like "0.05 / 1M',
        ),
        ((*PRICES, "tokens_audio_in"), "1 / 1M tokens", "tokens_audio_in: audio_seconds bills one of audio_generated"),
        ((*PRICES,), {"audio_sent_ms": "1 / minute"}, 'prices: audio_generated_ms missing; write "0 / …"'),
    ],
)
def test_a_wrong_book_says_where_and_what_to_write(path: tuple[Any, ...], value: object, expected: str) -> None:
    content = deepcopy(GOOD)
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(BadBookError) as caught:
        parse(content, file="acme.yaml")
    assert "acme.yaml" in str(caught.value)
    assert expected in str(caught.value)


def test_an_empty_file_is_no_book() -> None:
    with pytest.raises(BadBookError, match=r"price book acme\.yaml: the file: Input should be"):
        parse(None, file="acme.yaml")


def test_two_editions_of_one_day_are_refused() -> None:
    content = deepcopy(GOOD)
    content["editions"] *= 2
    with pytest.raises(BadBookError, match="a valid_from of its own"):
        parse(content, file="acme.yaml")
