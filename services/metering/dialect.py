"""Differences between SQLite and PostgreSQL: engine, writer's lock, append-only triggers."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, PoolProxiedConnection, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from services.runtime.errors import HushgateError

_ADVISORY_LOCK = 0x48555348  # "HUSH"


class LedgerError(HushgateError):
    """The ledger cannot be read or written."""

    retryable = True

    def __init__(self, url: URL, cause: str) -> None:
        super().__init__(
            f"cannot use the ledger {_redacted(url)} ({cause}): free disk space, correct its permissions "
            "or METERING_LEDGER_URL"
        )


class LedgerInUseError(HushgateError):
    """Another metering process uses the ledger; each would count only its own totals."""

    def __init__(self, url: URL) -> None:
        super().__init__(
            f"another metering process books into {_redacted(url)}: only one at a time may; stop it, "
            "or give this one a ledger of its own (METERING_LEDGER_URL or METERING_DATA_DIR)"
        )


def _redacted(url: URL) -> str:
    return url.database or "in memory" if is_sqlite(url) else url.render_as_string(hide_password=True)


def is_sqlite(url: URL) -> bool:
    """Return whether ``url`` is an SQLite file."""
    return url.get_backend_name() == "sqlite"


def ledger_url(text_url: str, data_dir: Path) -> URL:
    """Return the ledger's URL; if ``text_url`` is empty, that of an SQLite file in ``data_dir``.

    Raises:
        HushgateError: not a URL of SQLAlchemy.
    """
    if not text_url:
        return URL.create("sqlite", database=str(data_dir.resolve() / "ledger.sqlite"))
    try:
        return make_url(text_url)
    except ArgumentError:
        raise HushgateError(
            "METERING_LEDGER_URL: write sqlite:////path/ledger.sqlite or postgresql+psycopg://…"
        ) from None


def connect(url: URL) -> Engine:
    """Return an engine whose commits are durable on disk.

    Raises:
        HushgateError: the driver is not installed.
        LedgerError: the directory of the file cannot be created.
    """
    try:
        if not is_sqlite(url):
            return create_engine(url, pool_pre_ping=True)
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    except (NoSuchModuleError, ModuleNotFoundError) as exc:
        raise HushgateError(f"METERING_LEDGER_URL: the driver is not installed ({exc})") from exc
    except OSError as exc:
        raise LedgerError(url, str(exc)) from exc
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(raw: DBAPIConnection, _record: object) -> None:
    # The driver begins transactions too late for savepoints; `_begin_sqlite` does it instead.
    raw.isolation_level = None
    cursor = raw.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def snapshot(engine: Engine) -> Engine:
    """Return ``engine`` with snapshot isolation (repeatable read); SQLite always has it."""
    return engine if is_sqlite(engine.url) else engine.execution_options(isolation_level="REPEATABLE READ")


@contextmanager
def exclusive(engine: Engine) -> Iterator[None]:
    """Hold the writer's lock of the ledger while the block runs; it is released when the process ends.

    Raises:
        LedgerInUseError: another process holds it.
        LedgerError: the lock cannot be acquired for another reason.
    """
    if is_sqlite(engine.url):
        with _file_lock(engine.url):
            yield
    else:
        with _advisory_lock(engine):
            yield


@contextmanager
def _file_lock(url: URL) -> Iterator[None]:
    if not url.database:
        yield
        return
    path = Path(f"{url.database}.lock")
    with _open(path, url) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerInUseError(url) from None
        if not path.exists() or not path.samefile(f"/proc/self/fd/{file.fileno()}"):
            raise LedgerInUseError(url)  # its previous holder has just deleted it
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open(path: Path, url: URL) -> IO[bytes]:
    try:
        return path.open("wb")
    except OSError as exc:
        raise LedgerError(url, str(exc)) from exc


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    try:
        # A separate connection: the lock is held until its session ends.
        held: PoolProxiedConnection = engine.raw_connection()
        cursor = held.cursor()
        cursor.execute(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})")
        row = cursor.fetchone()
        held.commit()
    except (SQLAlchemyError, OSError) as exc:
        raise LedgerError(engine.url, _cause(exc)) from exc
    try:
        if not row or not row[0]:
            raise LedgerInUseError(engine.url)
        yield
    finally:
        held.invalidate()


def _cause(exc: Exception) -> str:
    return str(getattr(exc, "orig", None) or exc).strip().splitlines()[0]


def failed(engine: Engine, exc: SQLAlchemyError) -> LedgerError:
    """Convert a database error to one for the operator, without the statement and its values."""
    return LedgerError(engine.url, _cause(exc))


def append_only(connection: Connection, table: str) -> None:
    """Make the database refuse to change or delete rows of ``table``."""
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL:
        connection.execute(text(statement.format(table=table)))


_SQLITE = (
    """CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
    BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END""",
    """CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
    BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END""",
)
_POSTGRESQL = (
    """CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$""",
    """CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
)
