"""Calls in the ledger: their starts and ends from media, and the sums of a period."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from services.contracts.call_history import CallEnded, CallStarted
from services.contracts.endings import EndReason
from services.contracts.ids import ProcessId, TenantId
from services.metering.core.reading import Reason
from services.metering.held_messages import InboundMessage
from services.metering.store import Ledger
from tests.metering.event_maker import EventMaker

START = 1_795_172_400_000
"""An hour before the tests' now."""


def started(make: EventMaker) -> CallStarted:
    fields: dict[str, Any] = {
        "call": make.call,
        "tenant": TenantId("acme"),
        "process": ProcessId("media-0"),
        "provider": "rehearsal",
        "model": "gpt-realtime-2.1",
        "started_unix_ms": START,
    }
    return CallStarted(**fields)


def ended(make: EventMaker) -> CallEnded:
    beginning = started(make).model_dump(exclude={"type"})
    return CallEnded(**beginning, reason=EndReason.HANGUP, ended_unix_ms=START + 60_000)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1,), (0, 1, 0, 1)])
def test_a_call_has_ended_in_whatever_order_that_is_heard(
    ledger: Ledger, make: EventMaker, order: tuple[int, ...]
) -> None:
    message = [
        InboundMessage("hg.calls.media-0.started", started(make).encode()),
        InboundMessage("hg.calls.media-0.ended", ended(make).encode()),
    ]
    ledger.record([message[index] for index in order], now=make.now)
    bill = ledger.call_usage("acme", make.call)
    assert bill is not None
    assert (bill["status"], bill["ended_reason"]) == ("ended", "hangup")
    assert bill["started_at"] == "2026-11-20T11:00:00.000Z"


def test_history_that_is_none_is_kept_aside(ledger: Ledger, make: EventMaker) -> None:
    other = InboundMessage("hg.calls.media-0.started", b'{"type":"done"}')
    assert ledger.record([InboundMessage("hg.calls.media-0.x", b"?"), other], now=make.now).reasons == {
        Reason.MALFORMED: 2
    }


@pytest.mark.parametrize("time", [-1, 2**53, 2**63])
def test_a_call_at_an_impossible_time_is_kept_aside_and_stops_nothing(
    ledger: Ledger, make: EventMaker, time: int
) -> None:
    impossible = started(make).model_copy(update={"started_unix_ms": time})
    batch = [InboundMessage("hg.calls.media-0.started", each.encode()) for each in (impossible, started(make))]
    assert ledger.record(batch, now=make.now).reasons == {Reason.MALFORMED: 1}
    assert ledger.call_usage("acme", make.call) is not None


def test_history_that_breaks_the_database_is_kept_aside_and_stops_nothing(ledger: Ledger, make: EventMaker) -> None:
    with ledger.engine.begin() as db:
        db.execute(
            text(
                "CREATE TRIGGER broken BEFORE UPDATE ON call WHEN NEW.ended_ms IS NOT NULL"
                " BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        )
    batch = [
        InboundMessage("hg.calls.media-0.x", each.encode()) for each in (started(make), ended(make), started(make))
    ]
    recorded = ledger.record(batch, now=make.now)
    assert (recorded.results, recorded.reasons) == ({"quarantined": 1}, {Reason.INTERNAL: 1})
    bill = ledger.call_usage("acme", make.call)
    assert bill is not None
    assert bill["status"] == "live"


def test_the_sums_of_a_period_are_those_of_the_calls_that_began_in_it(ledger: Ledger, make: EventMaker) -> None:
    began = datetime.fromtimestamp(START / 1000, UTC)
    ledger.record([InboundMessage("hg.calls.media-0.started", started(make).encode())], now=make.now)
    events = [
        make.event({"audio_sent_ms": 60_000}, provider="xai", session_id="sess_x"),
        make.event({"tokens_audio_in": 10}, provider_ref="r"),
        make.event({"tokens_audio_in": 10}, provider_ref="r", call_id="rtc_" + "b" * 26),
        make.event({"tokens_audio_in": 10}, provider_ref="r", call_id="rtc_" + "c" * 26, tenant=TenantId("other")),
    ]
    make.place(ledger, events[0])
    make.place_another(ledger, events[2])
    make.place_another(ledger, events[3])
    recorded = ledger.record([make.delivery(event) for event in events], now=make.now)
    assert recorded.results == {"booked": 4}
    then = ledger.tenant_usage("acme", began, make.at(minutes=-1))
    assert (then["calls"], then["cost_nano_usd"]) == (1, 50_000_000 + 320_000)
    all_of_it = ledger.tenant_usage("acme", make.at(days=-2), make.at(hours=1))
    assert (all_of_it["calls"], all_of_it["cost_nano_usd"]) == (2, 50_000_000 + 640_000)
    assert ledger.tenant_usage("acme", make.at(minutes=-30), make.at(minutes=-20))["calls"] == 0


@pytest.mark.parametrize(
    ("changes", "subject", "reason"),
    [
        ({"tenant": "other"}, "media-0", Reason.WRONG_TENANT),
        ({"process": "media-1"}, "media-0", Reason.WRONG_SUBJECT),
        ({"started_unix_ms": START - 48 * 3_600_000}, "media-0", Reason.IMPLAUSIBLE),
        ({"started_unix_ms": START + 3 * 3_600_000}, "media-0", Reason.IMPLAUSIBLE),
    ],
)
def test_what_a_process_says_of_a_call_that_is_not_its_own_is_kept_aside(
    ledger: Ledger, make: EventMaker, changes: dict[str, Any], subject: str, reason: Reason
) -> None:
    message = started(make).model_copy(update=changes)
    recorded = ledger.record([InboundMessage(f"hg.calls.{subject}.started", message.encode())], now=make.now)
    assert recorded.reasons == {reason: 1}


@pytest.mark.parametrize("changes", [{"call": "rtc_" + "z" * 26}, {"process": "media-1"}])
def test_a_call_that_was_not_placed_there_waits_and_is_then_kept_aside(
    ledger: Ledger, make: EventMaker, changes: dict[str, Any]
) -> None:
    message = ended(make).model_copy(update=changes)
    assert ledger.record(
        [InboundMessage(f"hg.calls.{message.process}.ended", message.encode())], now=make.now
    ).results == {"held": 1}
    assert ledger.sweep(now=make.at(seconds=59)).results == {}
    assert ledger.sweep(now=make.at(seconds=60)).results == {"quarantined": 1}
    bill = ledger.call_usage("acme", message.call)
    assert bill is None or bill["status"] == "live"


def test_a_call_whose_placement_comes_later_has_its_history(ledger: Ledger, make: EventMaker) -> None:
    other = "rtc_" + "b" * 26
    message = ended(make).model_copy(update={"call": other})
    ledger.record([InboundMessage("hg.calls.media-0.ended", message.encode())], now=make.now)
    ledger.record_placed([InboundMessage("hg.placed", make.placed(call=other).encode())], now=make.now)
    bill = ledger.call_usage("acme", other)
    assert bill is not None
    assert bill["ended_reason"] == "hangup"
