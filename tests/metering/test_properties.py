"""The ledger's sums do not depend on order or duplicates of events."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from services.contracts.usage import UsageEvent
from services.metering import rows, tables
from services.metering.audit import audit
from services.metering.core.ledger import LedgerLine, LineKey
from services.metering.core.pricing import Books
from services.metering.dialect import ledger_url
from services.metering.store import Ledger
from tests.metering.event_maker import EventMaker

UNHURRIED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

steps = st.lists(st.integers(0, 12_345), min_size=1, max_size=12)


def state(ledger: Ledger) -> dict[LineKey, LedgerLine]:
    assert audit(ledger.engine) == []
    with ledger.engine.begin() as db:
        assert db.scalar(select(func.coalesce(func.sum(tables.posting.c.amount_nano), 0))) == 0
        return rows.lines(db, select(tables.line))


def booked(books: Books, make: EventMaker, events: list[UsageEvent], *, size: int = 100) -> dict[LineKey, LedgerLine]:
    deliveries = [make.delivery(event) for event in events]
    with Ledger.open(ledger_url("sqlite://", Path()), books) as ledger:
        make.place(ledger, *events)
        for start in range(0, len(deliveries), size):
            ledger.record(deliveries[start : start + size], now=make.now)
        return state(ledger)


def conversation(make: EventMaker, growth: list[int], tokens: list[int]) -> list[UsageEvent]:
    total, events = 0, []
    for step in growth:
        total += step
        events.append(make.event({"audio_sent_ms": total}, provider="xai"))
        events.append(make.event({"audio_gated_ms": 2 * total}, provider="xai"))
        events.append(make.event({"audio_sent_ms": total}, epoch=8, provider="xai"))
    for turn, quantity in enumerate(tokens):
        meters = {"tokens_audio_in": quantity, "tokens_text_out": 1}
        events.append(make.event(meters, provider_ref=f"resp_{turn}", session_id="sess_2"))
    return events


@UNHURRIED
@given(growth=steps, tokens=steps, data=st.data())
def test_copies_and_any_order_give_the_same_ledger_and_the_same_cents(
    books: Books,
    make: EventMaker,
    growth: list[int],
    tokens: list[int],
    data: st.DataObject,
) -> None:
    events = conversation(make, growth, tokens)
    copies = data.draw(st.lists(st.sampled_from(events), max_size=20))
    shuffled = data.draw(st.permutations(events + copies))
    assert booked(books, make, shuffled, size=data.draw(st.integers(1, 9))) == booked(books, make, events)


@UNHURRIED
@given(growth=steps)
def test_reporting_more_often_does_not_change_the_price(books: Books, make: EventMaker, growth: list[int]) -> None:
    def reported(totals: list[int]) -> dict[LineKey, LedgerLine]:
        return booked(books, make, [make.event({"audio_sent_ms": total}, provider="xai") for total in totals])

    whole = sum(growth)
    assert reported([sum(growth[: n + 1]) for n in range(len(growth))]) == reported([whole])


@UNHURRIED
@given(parts=steps)
def test_splitting_a_call_into_sessions_does_not_change_the_price(
    books: Books, make: EventMaker, parts: list[int]
) -> None:
    split = [make.event({"audio_sent_ms": part}, provider="xai", session_id=f"s{n}") for n, part in enumerate(parts)]
    assert booked(books, make, split) == booked(
        books, make, [make.event({"audio_sent_ms": sum(parts)}, provider="xai")]
    )


def test_a_thousand_copies_are_one_event(books: Books, make: EventMaker) -> None:
    events = conversation(make, [100, 200], [5])
    assert booked(books, make, events * 200) == booked(books, make, events)
