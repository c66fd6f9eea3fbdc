"""Answers of the usage API."""

from datetime import UTC, datetime
from typing import Any

from services.contracts.ids import CallId, TenantId
from services.contracts.usage import Meter
from services.metering.core.bill import BilledCall, call_usage, tenant_usage, usd
from services.metering.core.ledger import LedgerLine, LineKey
from services.metering.core.pricing import Books

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIVE = BilledCall("rtc_1", "rehearsal", "gpt-realtime-2.1", BEGAN)


def line_key(meter: Meter, provider: str = "rehearsal", model: str = "gpt-realtime-2.1") -> LineKey:
    return LineKey(TenantId("acme"), CallId("rtc_1"), provider, model, meter)


def test_nano_dollars_are_shown_to_the_last_place() -> None:
    assert [usd(18_400_000), usd(0), usd(-1), usd(12 * 10**9)] == [
        "0.018400000",
        "0.000000000",
        "-0.000000001",
        "12.000000000",
    ]


def test_a_live_call_without_usage_has_a_bill_of_nothing(books: Books) -> None:
    bill = call_usage(LIVE, {}, books)
    assert (bill["status"], bill["ended_at"], bill["started_at"]) == ("live", None, None)
    assert (bill["price_book"], bill["charged"]) == ("rehearsal@2026-01-01", False)
    assert (bill["meters"], bill["lines"], bill["cost_usd"]) == ({}, [], "0.000000000")
    assert bill["saved_note"] == "This provider does not bill silence."


def test_an_ended_call_says_when_and_why(books: Books) -> None:
    ended = BilledCall("rtc_1", "rehearsal", "m", BEGAN, BEGAN, BEGAN.replace(minute=3), "hangup")
    bill = call_usage(ended, {}, books)
    assert (bill["status"], bill["ended_reason"]) == ("ended", "hangup")
    assert (bill["started_at"], bill["ended_at"]) == ("2026-11-20T12:00:00.000Z", "2026-11-20T12:03:00.000Z")


def test_a_bill_has_a_line_for_each_price(books: Books) -> None:
    book = "rehearsal@2026-01-01"
    bill = call_usage(
        LIVE,
        {
            line_key(Meter.TOKENS_AUDIO_IN): LedgerLine(100, 3_200_000, 0, book),
            line_key(Meter.TOKENS_AUDIO_OUT): LedgerLine(0, 0, 0, book),
            line_key(Meter.AUDIO_SENT_MS): LedgerLine(1500, 0, 0, book),
            line_key(Meter.AUDIO_GENERATED_MS): LedgerLine(4000, 0, 0, book),
            line_key(Meter.AUDIO_PLAYED_MS): LedgerLine(3000, 0, 0, book),
            line_key(Meter.AUDIO_GATED_MS): LedgerLine(9000, 0, 0, book),
        },
        books,
    )
    seconds: dict[str, Any] = {name: bill[f"{name}_seconds"] for name in ("sent", "gated", "generated", "played")}
    assert seconds == {"sent": 1.5, "gated": 9.0, "generated": 4.0, "played": 3.0}
    assert (bill["unheard_seconds"], bill["billed_seconds"]) == (1.0, 5.5)
    assert (bill["cost_nano_usd"], bill["cost_usd"], bill["unpriced"]) == (3_200_000, "0.003200000", False)
    assert bill["lines"] == [
        {
            "provider": "rehearsal",
            "model": "gpt-realtime-2.1",
            "meter": "tokens_audio_in",
            "quantity": 100,
            "price_usd": "32",
            "per": 1_000_000,
            "cost_nano_usd": 3_200_000,
            "unpriced": False,
        }
    ]


def test_a_line_without_a_price_is_shown_and_flagged(books: Books) -> None:
    unknown = {line_key(Meter.TOKENS_AUDIO_IN, "nobody", "m"): LedgerLine(7, unpriced=True)}
    bill = call_usage(BilledCall("rtc_1", "nobody", "m", BEGAN), unknown, books)
    assert (bill["unpriced"], bill["price_book"], bill["charged"]) == (True, "", True)
    assert isinstance(bill["lines"], list)
    assert isinstance(bill["lines"][0], dict)
    assert bill["lines"][0]["price_usd"] is None
    assert str(bill["saved_note"]).startswith("There is no price")


def test_a_model_that_its_book_does_not_know_is_flagged_too(books: Books) -> None:
    unknown = {
        line_key(Meter.TOKENS_AUDIO_IN, "openai", "m"): LedgerLine(7, price_book="openai@2026-01-01", unpriced=True)
    }
    bill = call_usage(BilledCall("rtc_1", "openai", "m", BEGAN), unknown, books)
    assert (bill["unpriced"], bill["charged"]) == (True, True)


def test_the_sums_of_a_tenant_are_also_given_by_model(books: Books) -> None:
    sums = tenant_usage(
        BEGAN,
        BEGAN.replace(hour=13),
        3,
        {
            line_key(Meter.AUDIO_SENT_MS, "xai", "grok"): LedgerLine(60_000, 50_000_000, 0, "xai@2026-01-01"),
            line_key(Meter.AUDIO_GATED_MS, "xai", "grok"): LedgerLine(60_000, 0, 50_000_000, "xai@2026-01-01"),
            line_key(Meter.TOKENS_AUDIO_IN): LedgerLine(100, 3_200_000, 0, "rehearsal@2026-01-01"),
        },
        books,
    )
    assert (sums["calls"], sums["cost_nano_usd"], sums["saved_usd"]) == (3, 53_200_000, "0.050000000")
    assert (sums["from"], sums["to"]) == ("2026-11-20T12:00:00.000Z", "2026-11-20T13:00:00.000Z")
    assert isinstance(sums["by_model"], list)
    costs = [(part["model"], part["cost_nano_usd"]) for part in sums["by_model"] if isinstance(part, dict)]
    assert costs == [("gpt-realtime-2.1", 3_200_000), ("grok", 50_000_000)]
