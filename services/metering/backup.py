"""`hushgate metering backup FILE`: a consistent copy of an SQLite ledger, taken while metering runs."""

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL

from services.metering.dialect import is_sqlite, ledger_url
from services.metering.settings import MeteringSettings
from services.runtime.errors import HushgateError
from services.runtime.process.settings import load


class BackupError(HushgateError):
    """The ledger was not copied."""


def main(target: str) -> int:
    """Copy the ledger to the file ``target``, or with `-` to standard output; exit code 2 if that fails."""
    try:
        settings = load(MeteringSettings)
        url = ledger_url(settings.secret("ledger_url").get_secret_value(), settings.data_dir)
        if target == "-":
            _write_to_stdout(url)
        else:
            back_up(url, Path(target))
    except HushgateError as exc:
        sys.stderr.write(f"hushgate metering backup: {exc}\n")
        return 2
    return 0


def back_up(url: URL, target: Path) -> None:
    """Copy the ledger to ``target``, which exists only if the copy is complete. Metering may book meanwhile.

    Raises:
        BackupError: the ledger is missing, damaged or in PostgreSQL, or ``target`` exists or cannot be written.
    """
    ledger = _file(url)
    if target.exists():
        raise BackupError(f"{target} is there already: name a file that is not")
    part = target.with_name(f"{target.name}.part")
    try:
        part.touch(mode=0o600)  # it holds personal data: calls by tenant
        _copy(ledger, part)
        part.rename(target)
    except (OSError, sqlite3.Error) as exc:
        raise BackupError(f"cannot copy {ledger} to {target}: {exc}") from exc
    finally:
        part.unlink(missing_ok=True)


def _copy(ledger: Path, part: Path) -> None:
    source = sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)
    with closing(source), closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # a single file, without a write-ahead log
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BackupError(f"{ledger} is damaged ({found}): restore the last copy that was taken without this error")


def _file(url: URL) -> Path:
    if not is_sqlite(url):
        raise BackupError("this ledger is in PostgreSQL: use pg_dump (docs/operations.md)")
    ledger = Path(url.database or "")
    if not ledger.is_file():
        raise BackupError(f"there is no ledger {ledger}: correct METERING_DATA_DIR or METERING_LEDGER_URL")
    return ledger


def _write_to_stdout(url: URL) -> None:
    # In the ledger's directory: it is writable and large enough; the rest of a pod's file system is read-only.
    with tempfile.TemporaryDirectory(dir=_file(url).parent, prefix="backup-") as folder:
        copy = Path(folder) / "ledger.sqlite"
        back_up(url, copy)
        with copy.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
