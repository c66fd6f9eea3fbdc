"""`hushgate metering backup FILE`: a copy of an SQLite ledger as it is at one moment, taken beside metering."""

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
from services.runtime.settings import load


class BackupError(HushgateError):
    """The ledger was not copied."""


def main(target: str) -> int:
    """Copy the ledger to the file ``target``, or with `-` to standard output; exit code 2 when there is no copy."""
    try:
        settings = load(MeteringSettings)
        url = ledger_url(settings.secret("ledger_url").get_secret_value(), settings.data_dir)
        if target == "-":
            _pour(url)
        else:
            back_up(url, Path(target))
    except HushgateError as exc:
        sys.stderr.write(f"hushgate metering backup: {exc}\n")
        return 2
    return 0


def back_up(url: URL, target: Path) -> None:
    """Copy the ledger; ``target`` is there whole or not at all. Metering goes on booking meanwhile.

    Raises:
        BackupError: there is no ledger, it is damaged, it is PostgreSQL's, or ``target`` cannot be written.
    """
    ledger = _file(url)
    if target.exists():
        raise BackupError(f"{target} is there already: name a file that is not")
    part = target.with_name(f"{target.name}.part")
    try:
        part.touch(mode=0o600)  # it says who called whom
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
        copy.execute("PRAGMA journal_mode = DELETE")  # one file and no other beside it
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


def _pour(url: URL) -> None:
    # Beside the ledger, where there is room for it: the rest of a pod's file system is read-only.
    with tempfile.TemporaryDirectory(dir=_file(url).parent, prefix="backup-") as folder:
        copy = Path(folder) / "ledger.sqlite"
        back_up(url, copy)
        with copy.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
