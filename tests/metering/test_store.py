"""The ledger in its database: booking, refusals, answers, audit."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DatabaseError

from services.metering import tables
from services.metering.audit import audit
from services.metering.core.pricing import Books
from services.metering.core.reading import Reason
from services.metering.dialect import LedgerError, LedgerInUseError, connect, ledger_url
from services.metering.held_messages import InboundMessage
from services.metering.pricebooks import load_books
from services.metering.store import Ledger
from services.runtime.errors import HushgateError
from tests.metering.event_maker import EventMaker


def rows_of(ledger: Ledger, table: Any) -> int:  # noqa: ANN401 - a table
    with ledger.engine.begin() as db:
        return db.scalar(select(func.count()).select_from(table)) or 0


def test_events_of_a_call_become_its_bill(ledger: Ledger, make: EventMaker) -> None:
    batch = [
        make.event({"audio_sent_ms": 1000, "audio_generated_ms": 2000}),
        make.event({"audio_gated_ms": 4000, "audio_played_ms": 1900, "call_ms": 9000}),
        make.event({"tokens_audio_in": 100, "tokens_audio_out": 50}, provider_ref="resp_1"),
    ]
    recorded = ledger.record([make.delivery(event) for event in batch], now=make.now)
    assert recorded.results == {"booked": 3}
    assert recorded.marks == {make.worker_outbox: 2, make.media_outbox: 1}
    assert recorded.processes == {make.worker_outbox: "upstream-0", make.media_outbox: "media-0"}
    bill = ledger.call_usage("acme", make.call)
    assert bill is not None
    assert (bill["billed_seconds"], bill["gated_seconds"]) == (3.0, 4.0)
    assert (bill["cost_usd"], bill["unpriced"]) == ("0.006400000", False)
    assert audit(ledger.engine) == []


def test_a_call_belongs_to_its_tenant(ledger: Ledger, make: EventMaker) -> None:
    ledger.record([make.delivery(make.event({"call_ms": 20}))], now=make.now)
    assert ledger.call_usage("other", make.call) is None
    assert ledger.call_usage("acme", "rtc_" + "b" * 26) is None


def test_copies_are_counted_and_change_nothing(ledger: Ledger, make: EventMaker) -> None:
    delivery = make.delivery(make.event({"tokens_audio_in": 100}, provider_ref="resp_1"))
    first = ledger.record([delivery, delivery], now=make.now)
    again = ledger.record([delivery], now=make.now)
    assert (first.results, again.results) == ({"booked": 1, "duplicate": 1}, {"duplicate": 1})
    assert again.marks == {make.worker_outbox: 1}  # so that an outbox whose watermark was lost gets it
    assert (rows_of(ledger, tables.event), rows_of(ledger, tables.journal)) == (2, 1)  # one names the owner


def test_what_cannot_be_booked_is_kept_whole_and_does_not_stop_what_is_behind_it(
    ledger: Ledger,
    make: EventMaker,
) -> None:
    good = make.event({"session_ms": 20}, sequence=3)
    batch = [
        InboundMessage("hg.usage.media.media-0.acme", b"\xff poison"),
        make.delivery(make.event({"session_ms": 20}, sequence=1, time=make.at(days=40))),
        make.delivery(make.event({"tokens_audio_in": 1}, sequence=2)),
        make.delivery(good),
    ]
    recorded = ledger.record(batch, now=make.now)
    assert recorded.reasons == {Reason.MALFORMED: 1, Reason.FUTURE: 1, Reason.NO_REFERENCE: 1}
    assert recorded.results == {"quarantined": 3, "booked": 1}
    assert recorded.marks == {make.worker_outbox: 3}
    ledger.record(batch, now=make.now)
    with ledger.engine.begin() as db:
        kept = db.execute(select(tables.quarantine.c.body, tables.quarantine.c.source)).all()
    assert [row.source for row in kept] == [None, make.worker_outbox, make.worker_outbox]
    assert kept[0].body == b"\xff poison"


def test_a_message_that_breaks_the_database_is_kept_aside(ledger: Ledger, make: EventMaker) -> None:
    with ledger.engine.begin() as db:
        db.execute(
            text(
                "CREATE TRIGGER broken BEFORE INSERT ON journal WHEN NEW.meter = 'tool_calls'"
                " BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        )
    broken, good = make.event({"session_ms": 1, "tool_calls": 1}), make.event({"session_ms": 20})
    recorded = ledger.record([make.delivery(broken), make.delivery(good)], now=make.now)
    assert recorded.reasons == {Reason.INTERNAL: 1}
    assert recorded.marks == {make.worker_outbox: 2}
    assert audit(ledger.engine) == []  # nothing of the broken one is half booked
    assert rows_of(ledger, tables.event) == 2  # and the one that names the owner


def test_the_watermark_waits_for_what_is_missing_and_skips_what_is_gone(ledger: Ledger, make: EventMaker) -> None:
    def mark(sequence: int, floor: int) -> int:
        event = make.event({"call_ms": sequence}, seq=sequence, sequence=sequence, floor=floor)
        return ledger.record([make.delivery(event)], now=make.now).marks[make.media_outbox]

    assert mark(2, 1) == 0
    assert mark(4, 1) == 0
    assert mark(1, 1) == 2
    assert mark(6, 4) == 4


@pytest.mark.parametrize("table", ["event", "journal", "posting"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET {} = 1"])
def test_the_database_refuses_to_change_the_record(
    ledger: Ledger,
    make: EventMaker,
    table: str,
    statement: str,
) -> None:
    ledger.record([make.delivery(make.event({"tokens_audio_in": 1}, provider_ref="r"))], now=make.now)
    column = "received_ms" if table == "event" else "id"
    with pytest.raises(DatabaseError, match="append-only"), ledger.engine.begin() as db:
        db.execute(text(statement.format(table, column)))


def test_all_journals_balance_and_every_figure_follows_from_the_record(ledger: Ledger, make: EventMaker) -> None:
    make.place(
        ledger,
        make.event({"audio_sent_ms": 0}, provider="xai", session_id="sess_x"),
        make.event({"audio_sent_ms": 0}, session_id="sess_2"),
    )
    for turn in range(30):
        ledger.record(
            [
                make.delivery(
                    make.event(
                        {"audio_sent_ms": 777 * turn, "items_created": turn}, provider="xai", session_id="sess_x"
                    )
                ),
                make.delivery(make.event({"tokens_audio_in": turn}, provider_ref=f"resp_{turn}", session_id="sess_2")),
            ],
            now=make.now,
        )
    assert audit(ledger.engine) == []


def test_an_audit_finds_what_does_not_add_up(ledger: Ledger, make: EventMaker) -> None:
    ledger.record([make.delivery(make.event({"tokens_audio_in": 1}, provider_ref="r"))], now=make.now)
    with ledger.engine.begin() as db:
        db.execute(insert(tables.posting).values(journal_id=1, account="cost:acme", amount_nano=1))
        db.execute(tables.meter_total.update().values(quantity=2))
    found = "\n".join(audit(ledger.engine))
    assert "its postings sum to 1, not to 0" in found
    assert "the line has (1, 32000), its journals (1, 32001)" in found
    assert "live MeterReading(quantity=2" in found


def test_a_price_that_was_missing_is_booked_when_it_is_there(tmp_path: Path, make: EventMaker, books: Books) -> None:
    url = ledger_url("", tmp_path)
    with Ledger.open(url, Books([])) as ledger:
        make.place(ledger)
        ledger.record([make.delivery(make.event({"tokens_audio_in": 10}, provider_ref="r"))], now=make.now)
        assert ledger.reprice(now=make.now) == []
        everything, results, _ = ledger.totals()
        assert sum(each.unpriced for each in everything) == 1
        assert results["booked"] == 1
    with Ledger.open(url, books) as ledger:
        assert [each.cost_nano for each in ledger.reprice(now=make.now)] == [320_000]
        assert ledger.reprice(now=make.now) == []
        bill = ledger.call_usage("acme", make.call)
        assert bill is not None
        assert (bill["cost_nano_usd"], bill["unpriced"]) == (320_000, False)
        assert audit(ledger.engine) == []


def test_the_totals_after_a_restart_are_those_before(open_ledger: Callable[[], Ledger], make: EventMaker) -> None:
    ledger = open_ledger()
    events = [make.event({"audio_sent_ms": 60_000 * n}, provider="xai") for n in (1, 2)]
    make.place(ledger, *events)
    first = ledger.record([make.delivery(event) for event in events], now=make.now)
    ledger.record([InboundMessage("hg.usage.media.media-0.acme", b"?")], now=make.now)
    everything, results, reasons = ledger.totals()
    assert sum(each.cost_nano for each in everything) == sum(each.cost_nano for each in first.growth) == 100_000_000
    assert results == {"booked": 2, "superseded": 1, "quarantined": 1, "duplicate": 0, "held": 0}
    assert reasons == {"malformed": 1}


def test_the_migrations_make_the_tables_that_the_code_sees(ledger: Ledger) -> None:
    with ledger.engine.begin() as db:
        differences = compare_metadata(MigrationContext.configure(db), tables.metadata)
    assert [change for change in differences if change[0] not in ("remove_index", "remove_table")] == []


def test_a_second_process_on_the_same_ledger_is_refused(open_ledger: Callable[[], Ledger]) -> None:
    open_ledger()
    with pytest.raises(LedgerInUseError, match="another metering process"):
        open_ledger()


def test_a_ledger_is_free_again_when_its_process_is_gone(tmp_path: Path, books: Books) -> None:
    for _ in range(2):
        with Ledger.open(ledger_url("", tmp_path), books):
            pass


def test_a_file_that_is_no_ledger_is_refused_with_its_name(tmp_path: Path, books: Books) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"x" * 4096)
    with (
        pytest.raises(LedgerError, match=r"ledger\.sqlite \(file is not a database\)"),
        Ledger.open(ledger_url("", tmp_path), books),
    ):
        pass


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path, books: Books) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="METERING_LEDGER_URL"), Ledger.open(ledger_url("", tmp_path / "file"), books):
        pass


def test_a_database_that_is_locked_loses_nothing(ledger: Ledger, make: EventMaker, tmp_path: Path) -> None:
    delivery = make.delivery(make.event({"call_ms": 20}))
    with ledger.engine.begin() as db:
        db.execute(text("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="database is locked"):
        ledger.record([delivery], now=make.now)
    other.close()
    assert ledger.record([delivery], now=make.now).results == {"booked": 1}


@pytest.mark.parametrize(
    ("url", "expected"),
    [("no url", "write sqlite:"), ("nodb://x", "driver is not installed"), ("sqlite+nodriver:///x", "driver")],
)
def test_a_wrong_ledger_url_says_what_to_write(tmp_path: Path, url: str, expected: str) -> None:
    with pytest.raises(HushgateError, match=expected):
        connect(ledger_url(url, tmp_path))


def test_a_password_in_the_url_is_not_shown() -> None:
    error = LedgerError(ledger_url("postgresql://me:hunter2@db/ledger", Path()), "away")
    assert "hunter2" not in str(error)
    assert "db/ledger" in str(error)


def test_the_shipped_books_need_no_directory() -> None:
    assert len(load_books(None)) >= 3
