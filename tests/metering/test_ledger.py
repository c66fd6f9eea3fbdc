"""Booking of single events, without a database."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.contracts.usage import Meter, UsageEvent
from services.metering.core.ledger import (
    Booked,
    Decision,
    Duplicate,
    Journal,
    LedgerLine,
    LedgerState,
    LineKey,
    MeterKey,
    MeterReading,
    Posting,
    UsageRejected,
    advance,
    book_of,
    decide,
    line_keys,
    meter_keys,
    reprice,
)
from services.metering.core.pricing import Books, MeterKind, PriceBook, PriceRule, UnitPrice
from services.metering.core.reading import Reason
from tests.metering.event_maker import EventMaker

NOTHING = LedgerState(None, {}, {}, None)


def minute_book(day: str, usd: str = "0.05", *, charged: bool = True) -> PriceBook:
    prices = {Meter.AUDIO_SENT_MS: UnitPrice(Decimal(usd), 60_000)}
    rate = PriceRule("*", MeterKind.AUDIO_SECONDS, prices)
    return PriceBook("rehearsal", date.fromisoformat(day), charged, "test", (rate,))


BOOKS = Books([minute_book("2026-01-01")])


def booked(verdict: Decision) -> Booked:
    assert isinstance(verdict, Booked)
    return verdict


def after(known: LedgerState, verdict: Decision) -> LedgerState:
    done = booked(verdict)
    return replace(known, readings={**known.readings, **done.readings}, lines={**known.lines, **done.lines})


def only_line(verdict: Decision) -> LedgerLine:
    (line,) = booked(verdict).lines.values()
    return line


def test_a_minute_at_five_cents_is_posted_to_both_sides(make: EventMaker) -> None:
    done = booked(decide(make.event({"audio_sent_ms": 60_000}), NOTHING, BOOKS, now=make.now))
    (journal,) = done.journals
    assert journal.quantity == 60_000
    assert journal.price_book == "rehearsal@2026-01-01"
    assert journal.postings == (Posting("cost:acme", 50_000_000), Posting("payable:rehearsal", -50_000_000))


def test_where_nobody_sends_a_bill_the_other_side_is_notional(make: EventMaker) -> None:
    free = Books([minute_book("2026-01-01", charged=False)])
    (journal,) = booked(decide(make.event({"audio_sent_ms": 60_000}), NOTHING, free, now=make.now)).journals
    assert journal.postings[1].account == "notional:rehearsal"


def test_what_costs_nothing_has_a_journal_without_postings(make: EventMaker) -> None:
    (journal,) = booked(decide(make.event({"audio_played_ms": 20}), NOTHING, BOOKS, now=make.now)).journals
    assert (journal.quantity, journal.postings) == (20, ())


def test_of_a_cumulative_meter_the_largest_counts(make: EventMaker) -> None:
    known = after(NOTHING, decide(make.event({"audio_sent_ms": 100}), NOTHING, BOOKS, now=make.now))
    grown = decide(make.event({"audio_sent_ms": 250}), known, BOOKS, now=make.now)
    assert booked(grown).journals[0].quantity == 150
    assert only_line(grown).quantity == 250


def test_an_event_that_was_overtaken_changes_nothing(make: EventMaker) -> None:
    late, early = make.event({"audio_sent_ms": 100}), make.event({"audio_sent_ms": 250})
    known = after(NOTHING, decide(early, NOTHING, BOOKS, now=make.now))
    assert decide(late, known, BOOKS, now=make.now) == Booked({}, {}, ())


def test_a_meter_at_zero_has_a_line(make: EventMaker) -> None:
    verdict = decide(make.event({"audio_sent_ms": 0}), NOTHING, BOOKS, now=make.now)
    assert only_line(verdict).quantity == 0
    assert booked(verdict).journals == ()


def test_a_cumulative_meter_that_shrinks_is_kept_aside(make: EventMaker) -> None:
    known = after(NOTHING, decide(make.event({"audio_sent_ms": 250}), NOTHING, BOOKS, now=make.now))
    assert decide(make.event({"audio_sent_ms": 100}), known, BOOKS, now=make.now) == UsageRejected(Reason.SHRUNK)


def test_a_second_worker_adds_to_the_first(make: EventMaker) -> None:
    known = after(NOTHING, decide(make.event({"audio_sent_ms": 250}), NOTHING, BOOKS, now=make.now))
    second = decide(make.event({"audio_sent_ms": 100}, epoch=8), known, BOOKS, now=make.now)
    assert only_line(second).quantity == 350


def test_tokens_of_a_response_count_once_whoever_reports_them(make: EventMaker) -> None:
    first = make.event({"tokens_audio_in": 10}, provider_ref="resp_1")
    known = after(NOTHING, decide(first, NOTHING, BOOKS, now=make.now))
    again = make.event({"tokens_audio_in": 10}, provider_ref="resp_1", epoch=8)
    assert decide(again, known, BOOKS, now=make.now) == Booked({}, {}, ())
    other = make.event({"tokens_audio_in": 10}, provider_ref="resp_2")
    assert only_line(decide(other, known, BOOKS, now=make.now)).quantity == 20


@pytest.mark.parametrize(
    "changes", [{"meters": {"tokens_audio_in": 11}}, {"meters": {"tokens_audio_in": 10}, "model": "other"}]
)
def test_tokens_that_changed_are_kept_aside(make: EventMaker, changes: dict[str, Any]) -> None:
    first = make.event({"tokens_audio_in": 10}, provider_ref="resp_1")
    known = after(NOTHING, decide(first, NOTHING, BOOKS, now=make.now))
    verdict = decide(make.event(**changes, provider_ref="resp_1"), known, BOOKS, now=make.now)
    assert verdict == UsageRejected(Reason.CHANGED)


def test_the_same_event_again_is_a_duplicate_unless_its_content_changed(make: EventMaker) -> None:
    event: UsageEvent = make.event({"audio_sent_ms": 20})
    known = replace(NOTHING, content=event.contenthash)
    assert decide(event, known, BOOKS, now=make.now) == Duplicate()
    assert decide(event, replace(known, content="other"), BOOKS, now=make.now) == UsageRejected(Reason.CHANGED)


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ({"minutes": 6}, Reason.FUTURE),
        ({"minutes": 4}, None),
        ({"minutes": -10}, None),
        ({"days": -34}, None),
        ({"days": -36}, Reason.TOO_LATE),
    ],
)
def test_clocks_may_be_wrong_by_minutes_and_events_late_by_weeks(
    make: EventMaker, time: dict[str, float], reason: Reason | None
) -> None:
    verdict = decide(make.event({"audio_sent_ms": 20}, time=make.at(**time)), NOTHING, BOOKS, now=make.now)
    assert verdict == UsageRejected(reason) if reason else isinstance(verdict, Booked)


def test_a_total_beyond_all_measure_is_kept_aside(make: EventMaker) -> None:
    expensive = Books([minute_book("2026-01-01", "999999999")])
    verdict = decide(make.event({"audio_sent_ms": 2**53 - 1}), NOTHING, expensive, now=make.now)
    assert verdict == UsageRejected(Reason.IMPLAUSIBLE)
    known = replace(NOTHING, lines={line_keys(make.event({"call_ms": 1}))[0]: LedgerLine(quantity=2**60)})
    assert decide(make.event({"call_ms": 1}), known, BOOKS, now=make.now) == UsageRejected(Reason.IMPLAUSIBLE)


def test_a_model_without_a_price_is_booked_and_marked(make: EventMaker) -> None:
    verdict = decide(make.event({"audio_sent_ms": 20}, provider="nobody"), NOTHING, BOOKS, now=make.now)
    line = only_line(verdict)
    assert (line.quantity, line.cost_nano, line.unpriced, line.price_book) == (20, 0, True, "")


def test_a_call_keeps_the_book_of_its_first_day(make: EventMaker) -> None:
    two = Books([minute_book("2026-01-01"), minute_book("2026-11-20", "9")])
    started = replace(NOTHING, started=make.at(days=-1))
    known = after(started, decide(make.event({"audio_sent_ms": 60_000}), started, two, now=make.now))
    forgot = replace(known, started=None)
    second = decide(make.event({"audio_sent_ms": 120_000}), forgot, two, now=make.now)
    assert only_line(second).cost_nano == 100_000_000


def test_a_book_that_was_taken_away_takes_no_money_back(make: EventMaker) -> None:
    known = after(NOTHING, decide(make.event({"audio_sent_ms": 60_000}), NOTHING, BOOKS, now=make.now))
    later = decide(make.event({"audio_sent_ms": 90_000}), known, Books([]), now=make.now)
    assert only_line(later) == LedgerLine(90_000, 50_000_000, 0, "rehearsal@2026-01-01", unpriced=True)
    assert booked(later).journals[0].postings == ()


def test_a_line_whose_book_was_taken_away_has_no_journal_without_growth(make: EventMaker) -> None:
    event = make.event({"audio_sent_ms": 0})
    known = replace(NOTHING, lines={line_keys(event)[0]: LedgerLine(5, 4, 0, "rehearsal@2026-01-01")})
    assert booked(decide(event, known, Books([]), now=make.now)).journals == ()


def test_a_price_that_comes_later_is_a_journal_of_its_own(make: EventMaker) -> None:
    (key,) = line_keys(make.event({"audio_sent_ms": 60_000}))
    line, journal = reprice(key, LedgerLine(60_000, unpriced=True), minute_book("2026-01-01"))
    assert line == LedgerLine(60_000, 50_000_000, 0, "rehearsal@2026-01-01", unpriced=False)
    assert journal == Journal(
        key,
        0,
        "rehearsal@2026-01-01",
        (Posting("cost:acme", 50_000_000), Posting("payable:rehearsal", -50_000_000)),
    )


def test_gated_audio_is_a_saving_where_audio_is_billed(make: EventMaker) -> None:
    line = only_line(decide(make.event({"audio_gated_ms": 120_000}), NOTHING, BOOKS, now=make.now))
    assert (line.cost_nano, line.saved_nano) == (0, 100_000_000)


def test_keys_tell_workers_apart_for_time_and_responses_for_tokens(make: EventMaker) -> None:
    (timed,) = meter_keys(make.event({"call_ms": 1}, provider_ref="ignored"))
    (exact,) = meter_keys(make.event({"tokens_text_in": 1}, provider_ref="resp_1"))
    assert timed == MeterKey(timed.tenant, make.call, timed.session, 7, "", Meter.CALL_MS)
    assert (exact.epoch, exact.ref) == (-1, "resp_1")


def test_the_book_of_another_provider_says_nothing(make: EventMaker) -> None:
    key = LineKey(make.event({"call_ms": 1}).subject, make.call, "xai", "m", Meter.CALL_MS)
    assert book_of({key: LedgerLine(price_book="xai@2026-01-01")}, "rehearsal", BOOKS, date(2026, 5, 1)) is not None


def test_held_is_what_the_latest_largest_event_said(make: EventMaker) -> None:
    verdict = booked(decide(make.event({"call_ms": 5}, seq=3), NOTHING, BOOKS, now=make.now))
    assert list(verdict.readings.values()) == [MeterReading(5, 3, "rehearsal", "gpt-realtime-2.1")]


@pytest.mark.parametrize(
    ("mark", "floor", "present", "reached"),
    [
        (0, 1, [1, 2, 3], 3),
        (0, 1, [2, 3], 0),
        (0, 1, [3, 1, 2, 5], 3),
        (0, 4, [5], 3),
        (2, 1, [3], 3),
        (9, 4, [], 9),
    ],
)
def test_the_watermark_has_no_gap_below_it(mark: int, floor: int, present: list[int], reached: int) -> None:
    assert advance(mark, floor, present) == reached
