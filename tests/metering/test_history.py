"""Calls in the ledger: what media says about them, and the sums of a period."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from services.contracts.endings import EndReason
from services.contracts.ids import ProcessId, TenantId
from services.contracts.messages import CallEnded, CallStarted
from services.metering.core.reading import Reason
from services.metering.store import Delivery, Ledger

Maker = Any  # that of conftest.py, which nothing can import


def started(make: Maker) -> CallStarted:
    fields: dict[str, Any] = {
        "call": make.call,
        "tenant": TenantId("acme"),
        "process": ProcessId("media-0"),
        "provider": "rehearsal",
        "model": "gpt-realtime-2.1",
        "started_unix_ms": 1_780_000_000_000,
    }
    return CallStarted(**fields)


def ended(make: Maker) -> CallEnded:
    beginning = started(make).model_dump(exclude={"type"})
    return CallEnded(**beginning, reason=EndReason.HANGUP, ended_unix_ms=1_780_000_060_000)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1,), (0, 1, 0, 1)])
def test_a_call_has_ended_in_whatever_order_that_is_heard(ledger: Ledger, make: Maker, order: tuple[int, ...]) -> None:
    said = [Delivery("hg.calls.started", started(make).encode()), Delivery("hg.calls.ended", ended(make).encode())]
    ledger.record_calls([said[index] for index in order], now=make.now)
    bill = ledger.call_usage("acme", make.call)
    assert bill is not None
    assert (bill["status"], bill["ended_reason"]) == ("ended", "hangup")
    assert bill["started_at"] == "2026-05-28T20:26:40.000Z"


def test_history_that_is_none_is_kept_aside(ledger: Ledger, make: Maker) -> None:
    other = Delivery("hg.calls.started", b'{"type":"done"}')
    assert ledger.record_calls([Delivery("hg.calls.x", b"?"), other], now=make.now).reasons == {Reason.MALFORMED: 2}


@pytest.mark.parametrize("time", [-1, 2**53, 2**63])
def test_a_call_at_an_impossible_time_is_kept_aside_and_stops_nothing(ledger: Ledger, make: Maker, time: int) -> None:
    impossible = started(make).model_copy(update={"call": "rtc_" + "b" * 26, "started_unix_ms": time})
    batch = [Delivery("hg.calls.started", each.encode()) for each in (impossible, started(make))]
    assert ledger.record_calls(batch, now=make.now).reasons == {Reason.MALFORMED: 1}
    assert ledger.call_usage("acme", make.call) is not None


def test_history_that_breaks_the_database_is_kept_aside_and_stops_nothing(ledger: Ledger, make: Maker) -> None:
    with ledger.engine.begin() as db:
        db.execute(
            text(
                "CREATE TRIGGER broken BEFORE UPDATE ON call WHEN NEW.ended_ms IS NOT NULL"
                " BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        )
    batch = [Delivery("hg.calls.x", each.encode()) for each in (started(make), ended(make), started(make))]
    recorded = ledger.record_calls(batch, now=make.now)
    assert (recorded.results, recorded.reasons) == ({"quarantined": 1}, {Reason.INTERNAL: 1})
    bill = ledger.call_usage("acme", make.call)
    assert bill is not None
    assert bill["status"] == "live"


def test_the_sums_of_a_period_are_those_of_the_calls_that_began_in_it(ledger: Ledger, make: Maker) -> None:
    began = datetime.fromtimestamp(1_780_000_000, UTC)
    ledger.record_calls([Delivery("hg.calls.started", started(make).encode())], now=make.now)
    events = [
        make.event({"audio_sent_ms": 60_000}, provider="xai", model="grok"),
        make.event({"tokens_audio_in": 10}, provider_ref="r"),
        make.event({"tokens_audio_in": 10}, provider_ref="r", call_id="rtc_" + "b" * 26),
        make.event({"tokens_audio_in": 10}, provider_ref="r", tenant=TenantId("other")),
    ]
    ledger.record([make.delivery(event) for event in events], now=make.now)
    then = ledger.tenant_usage("acme", began, began.replace(hour=23))
    assert (then["calls"], then["cost_nano_usd"]) == (1, 50_000_000 + 320_000)
    all_of_it = ledger.tenant_usage("acme", began, make.at(hours=1))
    assert (all_of_it["calls"], all_of_it["cost_nano_usd"]) == (2, 50_000_000 + 640_000)
    assert ledger.tenant_usage("acme", began.replace(hour=23), make.at(hours=-1))["calls"] == 0
