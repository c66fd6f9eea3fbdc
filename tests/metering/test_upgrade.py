"""A ledger of a version without placements: usage measured before the upgrade is booked unchecked."""

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, update

from services.metering import migrate, tables
from services.metering.audit import audit
from services.metering.core.pricing import Books
from services.metering.core.reading import Reason
from services.metering.dialect import connect, ledger_url
from services.metering.held_messages import InboundMessage
from services.metering.store import Ledger
from tests.metering.event_maker import EventMaker


def first_version(folder: Path) -> None:
    """Create a ledger with the schema of migration 0001 and one event."""
    engine = connect(ledger_url("", folder))
    with engine.begin() as db:
        config = Config()
        config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = db
        command.upgrade(config, "0001")
    engine.dispose()
    with sqlite3.connect(folder / "ledger.sqlite") as raw:
        raw.execute(
            "INSERT INTO event (id, source, outboxseq, tenant, call_id, time_ms, received_ms, content_hash, body)"
            " VALUES ('x', 's', 1, 'acme', 'c', 1, 1, 'h', 'b')"
        )
    raw.close()


def deliveries(make: EventMaker) -> list[InboundMessage]:
    """Return messages of the older version: without a worker, on subjects without a process."""
    media = make.event({"call_ms": 2000}, worker="", source=f"outbox-media-media-0-{'a' * 16}")
    worker = make.event({"tokens_audio_in": 7}, provider_ref="r", source=f"outbox-upstream-upstream-0-{'b' * 16}")
    in_stream = make.event({"audio_sent_ms": 5}, source=f"outbox-upstream-upstream-0-{'b' * 16}")
    return [make.delivery(media), make.delivery(worker), InboundMessage("hg.usage.acme", in_stream.encode())]


def test_what_was_measured_before_the_upgrade_is_booked_for_a_day(
    tmp_path: Path, make: EventMaker, books: Books
) -> None:
    first_version(tmp_path)
    url = ledger_url("", tmp_path)
    with Ledger.open(url, books) as ledger, ledger.engine.begin() as db:
        since = db.scalar(select(tables.known_since.c.since_ms))
        assert since is not None
        db.execute(update(tables.known_since).values(since_ms=round(make.at(seconds=1).timestamp() * 1000)))
    with Ledger.open(url, books) as ledger:
        recorded = ledger.record(deliveries(make), now=make.at(hours=1))
        assert recorded.results == {"booked": 3}
        assert recorded.marks == {f"outbox-media-media-0-{'a' * 16}": 1, f"outbox-upstream-upstream-0-{'b' * 16}": 2}
        later = make.event({"session_ms": 5}, time=make.at(seconds=2))
        assert ledger.record([make.delivery(later)], now=make.at(hours=1)).results == {"held": 1}
        too_late = make.event({"session_ms": 5}, call_id="rtc_" + "b" * 26)
        assert ledger.record([make.delivery(too_late)], now=make.at(hours=25)).results == {"held": 1}


def test_a_new_ledger_believes_nothing_of_before(tmp_path: Path, make: EventMaker, books: Books) -> None:
    with Ledger.open(ledger_url("", tmp_path), books) as ledger:
        recorded = ledger.record(deliveries(make), now=make.now)
        assert recorded.results == {"held": 2, "quarantined": 1}
        assert recorded.reasons == {Reason.WRONG_SUBJECT: 1}
        assert audit(ledger.engine) == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_copy_of_the_ledger_hears_again_of_calls_that_were_placed_after_it(
    tmp_path: Path, make: EventMaker, books: Books, times: int
) -> None:
    with Ledger.open(ledger_url("", tmp_path), books) as ledger:
        assert ledger.placed_from() is None
        for _ in range(times):
            ledger.record_placed([InboundMessage("hg.placed", make.placed().encode())], now=make.now)
        assert ledger.placed_from() == make.at(hours=-1)
