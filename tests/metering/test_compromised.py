"""A compromised process: its usage for other calls, tenants or providers is quarantined, and an alert fires."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.contracts import subjects
from services.contracts.ids import TenantId
from services.contracts.subjects import UsageRole
from services.contracts.usage import MEDIA_METERS, Meter, UsageEvent
from services.metering import quarantine
from services.metering.audit import audit
from services.metering.core.pricing import Books
from services.metering.core.reading import Reason
from services.metering.dialect import ledger_url
from services.metering.held_messages import InboundMessage
from services.metering.store import Ledger
from tests.metering.event_maker import EventMaker

FOREIGN = "rtc_" + "f" * 26
EXPENSIVE = {"tokens_audio_in": 2 * 10**9}  # $64,000
SOURCE = {"media": f"media-0-{'d' * 16}", "media-1": f"media-1-{'d' * 16}", "upstream-1": f"upstream-1-{'d' * 16}"}


def message_of(event: UsageEvent, role: UsageRole, process: str, tenant: str = "acme") -> InboundMessage:
    return InboundMessage(subjects.usage(role, process, TenantId(tenant)), event.encode())


def cost(ledger: Ledger) -> int:
    growths, _, _ = ledger.totals()
    return sum(each.cost_nano for each in growths)


def of_media(make: EventMaker, meters: dict[str, int], **changes: Any) -> InboundMessage:  # noqa: ANN401 - any field
    """Return a usage message of the call's media process."""
    return message_of(
        make.event(meters, **{"source": SOURCE["media"], "worker": "upstream-0"} | changes), "media", "media-0"
    )


@pytest.mark.parametrize(
    ("meters", "changes", "reason"),
    [
        (EXPENSIVE, {"provider_ref": "r"}, Reason.WRONG_METER),
        ({"session_ms": 10}, {}, Reason.WRONG_METER),
        ({"call_ms": 10}, {"tenant": TenantId("other")}, Reason.WRONG_TENANT),
        ({"call_ms": 10}, {"provider": "openai"}, Reason.CHANGED),
        ({"call_ms": 10}, {"model": "gpt-realtime-2.1-mini"}, Reason.WRONG_MODEL),
        ({"call_ms": 10}, {"source": SOURCE["media-1"]}, Reason.WRONG_SOURCE),
        ({"call_ms": 10}, {"worker": "media-0"}, Reason.CHANGED),
        ({"call_ms": 90_000_000_000}, {}, Reason.OVER_TIME),
    ],
)
def test_a_media_process_cannot_book_what_is_not_its_own(
    ledger: Ledger, make: EventMaker, meters: dict[str, int], changes: dict[str, Any], reason: Reason
) -> None:
    recorded = ledger.record([of_media(make, meters, **changes)], now=make.now)
    assert recorded.reasons == {reason: 1}
    assert (cost(ledger), recorded.growth, audit(ledger.engine)) == (0, [], [])


@pytest.mark.parametrize(
    ("process", "changes", "reason"),
    [
        ("upstream-1", {"source": SOURCE["upstream-1"]}, Reason.WRONG_PRODUCER),
        ("upstream-0", {"provider": "openai"}, Reason.WRONG_PROVIDER),
        ("upstream-0", {"model": "gpt-realtime-2"}, Reason.WRONG_MODEL),
        ("upstream-0", {"meters": EXPENSIVE}, Reason.OVER_PRICE),
        ("upstream-0", {"meters": {"tokens_text_out": 10**12}}, Reason.OVER_TIME),
        ("upstream-0", {"meters": {"call_ms": 1}}, Reason.WRONG_METER),
    ],
)
def test_a_worker_cannot_book_what_is_not_its_own(
    ledger: Ledger, make: EventMaker, process: str, changes: dict[str, Any], reason: Reason
) -> None:
    fields = {"provider_ref": "r", "source": make.worker_outbox, **changes}
    event = make.event(fields.pop("meters", {"tokens_audio_in": 5}), **fields)
    recorded = ledger.record([message_of(event, "upstream", process)], now=make.now)
    assert recorded.reasons == {reason: 1}
    assert (cost(ledger), audit(ledger.engine)) == (0, [])


def test_sixty_four_thousand_dollars_in_many_events_are_not_booked_either(ledger: Ledger, make: EventMaker) -> None:
    events = [make.event({"tokens_audio_out": 10**6}, provider_ref=f"r{turn}") for turn in range(1000)]
    recorded = ledger.record([make.delivery(event) for event in events], now=make.now)
    assert recorded.reasons == {Reason.OVER_TIME: 1000 - recorded.results["booked"]}
    assert 0 < cost(ledger) <= 20 * 10**9 * (24 * 60 + 5)


@pytest.mark.parametrize("quantity", [-1, math.nan, math.inf, -math.inf, 2**53, 1e300, 0.5, "9", True, None, [1], {}])
def test_what_is_no_quantity_is_not_booked(ledger: Ledger, make: EventMaker, quantity: object) -> None:
    body = json.loads(make.event({"tokens_audio_in": 5}, provider_ref="r").encode())
    body["data"]["meters"] = {"tokens_audio_in": quantity}
    subject = subjects.usage("upstream", "upstream-0", TenantId("acme"))
    recorded = ledger.record([InboundMessage(subject, json.dumps(body).encode())], now=make.now)
    assert recorded.reasons == {Reason.MALFORMED: 1}
    assert cost(ledger) == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    meter=st.sampled_from(sorted(Meter)),
    quantity=st.integers(0, 2**53 - 1),
    on=st.sampled_from(["acme", "other"]),
    fields=st.fixed_dictionaries(
        {
            "call_id": st.sampled_from(["rtc_" + "a" * 26, FOREIGN]),
            "tenant": st.sampled_from(["acme", "other"]),
            "session_id": st.sampled_from(["sess_1", "sess_2"]),
            "epoch": st.sampled_from([7, 8]),
            "worker": st.sampled_from(["", "upstream-0", "media-1"]),
            "provider": st.sampled_from(["rehearsal", "openai", "xai"]),
        }
    ),
)
def test_a_media_process_that_was_not_asked_books_nothing_whatever_it_says(
    books: Books, make: EventMaker, *, meter: Meter, quantity: int, on: str, fields: dict[str, Any]
) -> None:
    with Ledger.open(ledger_url("sqlite://", Path()), books) as ledger:
        make.place(ledger)
        event = make.event({meter: quantity}, source=SOURCE["media-1"], provider_ref="r", **fields)
        done = ledger.record([message_of(event, "media", "media-1", on)], now=make.now)
        done.results += ledger.sweep(now=make.at(hours=1)).results
        assert done.results["booked"] == done.results["superseded"] == 0
        assert done.results["quarantined"] == 1
        assert cost(ledger) == 0


def test_usage_of_a_call_that_is_not_there_waits_and_is_then_kept_aside(ledger: Ledger, make: EventMaker) -> None:
    first = ledger.record([of_media(make, {"call_ms": 10}, call_id=FOREIGN)], now=make.now)
    assert (first.results, first.marks) == ({"held": 1}, {SOURCE["media"]: 1})
    assert ledger.sweep(now=make.at(seconds=59)).results == {}
    late = ledger.sweep(now=make.at(seconds=60))
    assert (late.results, late.reasons) == ({"quarantined": 1}, {Reason.NO_CALL: 1})
    assert ledger.totals()[2] == {"no_call": 1}
    assert ledger.sweep(now=make.at(hours=1)).results == {}


def test_what_is_held_or_in_quarantine_moves_the_outbox_on(ledger: Ledger, make: EventMaker) -> None:
    events = [
        make.event({"session_ms": 1}),
        make.event({"session_ms": 2}, session_id="unclaimed"),
        make.event({"session_ms": 3}, provider="openai"),
        make.event({"session_ms": 4}),
    ]
    recorded = ledger.record([make.delivery(event) for event in events], now=make.now)
    assert recorded.results == {"booked": 2, "held": 1, "quarantined": 1}
    assert recorded.marks == {make.worker_outbox: 4}


def test_nobody_lets_go_of_what_is_in_the_outbox_of_another(ledger: Ledger, make: EventMaker) -> None:
    victim = make.worker_outbox
    forged = make.event({"call_ms": 1}, source=victim, sequence=10**6, floor=10**6)
    spoiled = forged.encode().replace(b"hushgate.usage.v1", b"other")
    for body in (forged.encode(), spoiled):
        marks = ledger.record([InboundMessage("hg.usage.media.media-1.acme", body)], now=make.now).marks
        assert victim not in marks
    event = make.event({"session_ms": 1})
    assert ledger.record([make.delivery(event)], now=make.now).marks == {victim: 1}


@pytest.mark.parametrize("minutes", [0.5, 90])
def test_usage_that_comes_before_its_call_is_known_is_booked_when_it_is(
    open_ledger: Callable[[], Ledger], make: EventMaker, minutes: float
) -> None:
    ledger = open_ledger()
    usage = [
        make.event({"audio_sent_ms": 1000}),
        make.event({"tokens_audio_in": 100}, provider_ref="r"),
        make.event({"call_ms": 1000}),
    ]
    recorded = ledger.record([make.delivery(event) for event in usage], now=make.now)
    assert (recorded.results, recorded.marks) == ({"held": 3}, {make.worker_outbox: 2, make.media_outbox: 1})
    ledger.sweep(now=make.at(minutes=minutes))  # after an hour and a half they are in quarantine
    placed = InboundMessage(subjects.PLACED, make.placed().encode())
    done = ledger.record_placed([placed, placed], now=make.at(minutes=minutes))
    assert done.results == {"booked": 3}
    assert cost(ledger) == 100 * 32_000
    assert ledger.sweep(now=make.at(hours=9)).results == {}
    assert audit(ledger.engine) == []


def test_a_session_that_media_never_took_up_is_booked_as_time_and_nothing_else(
    ledger: Ledger, make: EventMaker
) -> None:
    unheard = make.event({"session_ms": 6000, "audio_sent_ms": 0}, session_id="lost")
    spoken = make.event({"session_ms": 6000, "audio_sent_ms": 5}, session_id="made-up")
    assert ledger.record([make.delivery(each) for each in (unheard, spoken)], now=make.now).results == {"held": 2}
    swept = ledger.sweep(now=make.at(minutes=2))
    assert swept.results == {"booked": 1, "quarantined": 1}
    assert swept.reasons == {Reason.UNCLAIMED: 1}


def test_a_second_media_process_that_was_asked_is_believed_and_so_is_a_second_owner(
    ledger: Ledger, make: EventMaker
) -> None:
    again = make.placed(process="media-1")
    ledger.record_placed([InboundMessage(subjects.PLACED, again.encode())], now=make.now)
    taken_over = make.event({"call_ms": 5}, source=SOURCE["media-1"], session_id="sess_2", epoch=9, worker="upstream-1")
    second = {"session_id": "sess_2", "epoch": 9, "source": SOURCE["upstream-1"]}
    spent = make.event({"tokens_audio_in": 3}, provider_ref="r", **second)
    batch = [message_of(spent, "upstream", "upstream-1"), message_of(taken_over, "media", "media-1")]
    assert ledger.record(batch, now=make.now).results == {"held": 1, "booked": 2}


def test_a_placement_that_another_contradicts_changes_nothing(ledger: Ledger, make: EventMaker) -> None:
    stolen = make.placed(tenant=TenantId("other"), process="media-1")
    ledger.record_placed(
        [InboundMessage(subjects.PLACED, stolen.encode()), InboundMessage(subjects.PLACED, b"?")], now=make.now
    )
    event = make.event({"call_ms": 5}, source=SOURCE["media-1"], tenant=TenantId("other"))
    assert ledger.record([message_of(event, "media", "media-1", "other")], now=make.now).reasons == {
        Reason.WRONG_TENANT: 1
    }


def test_what_is_in_quarantine_can_be_seen_and_released(
    ledger: Ledger,
    make: EventMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METERING_DATA_DIR", str(tmp_path))
    expensive = make.event(EXPENSIVE, provider_ref="r")
    recorded = ledger.record(
        [make.delivery(expensive), InboundMessage("hg.usage.media.media-0.acme", b"?")], now=make.now
    )
    assert recorded.results["quarantined"] == 2
    assert quarantine.show() == 0
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["reason"], each["call_id"]) for each in seen] == [("over_price", make.call), ("malformed", None)]
    assert json.loads(seen[0]["body"])["id"] == expensive.id
    assert quarantine.release([str(each["number"]) for each in seen]) == 0
    assert quarantine.release(["99", "x"]) == 1
    assert "99, x" in capsys.readouterr().err
    swept = ledger.sweep(now=make.now)
    assert swept.results == {"booked": 1}
    assert cost(ledger) == 64_000 * 10**9
    assert audit(ledger.engine) == []
    capsys.readouterr()
    quarantine.show()
    left = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["reason"], each["asked_to_release"]) for each in left] == [("malformed", False)]
    assert ledger.sweep(now=make.now).results == {}


def test_all_media_meters_are_free() -> None:
    assert len(MEDIA_METERS) == 3
