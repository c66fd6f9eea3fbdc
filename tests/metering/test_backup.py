"""A backup of the ledger, and a ledger restored from it that continues booking."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.metering.audit import audit
from services.metering.backup import BackupError, back_up
from services.metering.core.pricing import Books
from services.metering.dialect import ledger_url
from services.metering.store import Ledger
from tests.metering.event_maker import EventMaker

COPY = "copy.sqlite"


def book(ledger: Ledger, make: EventMaker, ms: int, **envelope: int) -> dict[str, int]:
    event = make.event({"audio_sent_ms": ms}, **envelope)
    return dict(ledger.record([make.delivery(event)], now=make.now).marks)


def billed(ledger: Ledger, make: EventMaker) -> object:
    bill = ledger.call_usage("acme", make.call)
    assert bill is not None
    return bill["billed_seconds"]


def test_a_copy_taken_beside_the_writer_is_a_ledger_that_adds_up_and_goes_on(
    tmp_path: Path, ledger: Ledger, make: EventMaker, books: Books
) -> None:
    book(ledger, make, 1000)
    book(ledger, make, 2000)
    back_up(ledger_url("", tmp_path), tmp_path / COPY)
    assert book(ledger, make, 3000) == {make.worker_outbox: 3}  # booked after the copy, then lost
    restored = tmp_path / "restored"
    restored.mkdir()
    (tmp_path / COPY).rename(restored / "ledger.sqlite")
    with Ledger.open(ledger_url("", restored), books) as second:
        assert audit(second.engine) == []
        assert billed(second, make) == 2.0
        # The outbox has deleted the third (its floor); meters are cumulative, so the fourth includes its time.
        assert book(second, make, 4000, floor=4) == {make.worker_outbox: 4}
        assert (billed(second, make), audit(second.engine)) == (4.0, [])


def test_a_copy_is_one_file_that_others_cannot_read(tmp_path: Path, ledger: Ledger, make: EventMaker) -> None:
    book(ledger, make, 1000)
    folder = tmp_path / "backups"
    folder.mkdir()
    back_up(ledger_url("", tmp_path), folder / COPY)
    assert [path.name for path in folder.iterdir()] == [COPY]
    assert (folder / COPY).stat().st_mode & 0o077 == 0


def test_a_copy_never_replaces_what_is_there(tmp_path: Path, ledger: Ledger, make: EventMaker) -> None:
    book(ledger, make, 1000)
    (tmp_path / COPY).write_text("yesterday's")
    with pytest.raises(BackupError, match="already"):
        back_up(ledger_url("", tmp_path), tmp_path / COPY)
    assert (tmp_path / COPY).read_text() == "yesterday's"


def test_a_damaged_ledger_makes_no_copy(tmp_path: Path, open_ledger: Callable[[], Ledger], make: EventMaker) -> None:
    ledger = open_ledger()
    for ms in range(20, 4000, 20):
        book(ledger, make, ms)
    ledger.engine.dispose()
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(8192))
    with pytest.raises(BackupError, match=r"damaged|malformed"):
        back_up(ledger_url("", tmp_path), tmp_path / COPY)
    assert not list(tmp_path.glob(f"{COPY}*"))


@pytest.mark.parametrize(
    ("url", "named"), [("postgresql+psycopg://u:p@db/ledger", "pg_dump"), ("sqlite:////nowhere/at/all", "nowhere")]
)
def test_what_cannot_be_copied_is_said(tmp_path: Path, url: str, named: str) -> None:
    with pytest.raises(BackupError, match=named):
        back_up(ledger_url(url, tmp_path), tmp_path / COPY)


def command(data: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "services.cli", "metering", *arguments],
        capture_output=True,
        env={**os.environ, "METERING_DATA_DIR": str(data)},  # noqa: TID251 - a child's
        check=False,
    )


def test_the_command_writes_a_file_or_to_standard_output(tmp_path: Path, ledger: Ledger, make: EventMaker) -> None:
    book(ledger, make, 1000)
    assert command(tmp_path, "backup", str(tmp_path / COPY)).returncode == 0
    poured = command(tmp_path, "backup", "-")
    assert (poured.returncode, poured.stdout) == (0, (tmp_path / COPY).read_bytes())
    assert not list(tmp_path.glob("backup-*"))
    again = command(tmp_path, "backup", str(tmp_path / COPY))
    assert (again.returncode, again.stderr.count(b"\n")) == (2, 1)
