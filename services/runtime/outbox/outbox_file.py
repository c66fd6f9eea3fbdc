"""The file of an outbox: SQLite whose writes are on disk when a call returns. Blocking; for one thread."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from services.contracts.ids import TenantId
from services.contracts.usage import new_source
from services.runtime.errors import HushgateError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (only INTEGER PRIMARY KEY CHECK (only = 1), source TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, tenant TEXT NOT NULL,
    made_unix_ms INTEGER NOT NULL, data TEXT NOT NULL
);
"""
_BUSY_S = 1.0

T = TypeVar("T")


class OutboxError(HushgateError):
    """The outbox cannot be read or written: the event is not stored. Its caller must accept no new calls."""

    retryable = True

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(
            f"cannot keep usage in {path} ({cause}): free disk space, correct its permissions, "
            "or stop the other process that has the same *_PROCESS_ID"
        )
        self.path = path
        self.cause = cause


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One usage event on disk; ``data`` is the JSON of its `UsageData`."""

    seq: int
    event_id: str
    tenant: TenantId
    made_unix_ms: int
    data: str


class OutboxFile:
    """Events in the order of `append`, numbered from 1; a number is never reused."""

    def __init__(self, path: Path, process: str) -> None:
        self._path = path
        self._process = process
        self._db = self._guarded(self._open)
        self.source = self._guarded(self._read_source)

    def append(self, events: Sequence[tuple[str, TenantId, int, str]]) -> int:
        """Write events to disk, all or none: id, tenant, creation in Unix ms, JSON. Returns the last one's number.

        Raises:
            OutboxError: they are not stored.
        """

        def insert() -> int:
            with self._db:
                self._db.executemany("INSERT INTO event (id, tenant, made_unix_ms, data) VALUES (?, ?, ?, ?)", events)
                return int(self._db.execute("SELECT last_insert_rowid()").fetchone()[0])

        return self._guarded(insert)

    def after(self, seq: int, limit: int) -> list[StoredEvent]:
        """The oldest ``limit`` events with a number above ``seq``."""

        def select() -> list[StoredEvent]:
            columns = "SELECT seq, id, tenant, made_unix_ms, data FROM event"
            rows = self._db.execute(f"{columns} WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
            return [StoredEvent(*row) for row in rows]

        return self._guarded(select)

    def free(self, up_to: int) -> int:
        """Delete the events up to and including ``up_to``; returns how many there were."""

        def delete() -> int:
            with self._db:
                return self._db.execute("DELETE FROM event WHERE seq <= ?", (up_to,)).rowcount

        return self._guarded(delete)

    def oldest(self) -> tuple[int, int] | None:
        """Number and time of the oldest event, None when there is none."""

        def select() -> tuple[int, int] | None:
            row = self._db.execute("SELECT seq, made_unix_ms FROM event ORDER BY seq LIMIT 1").fetchone()
            return (int(row[0]), int(row[1])) if row else None

        return self._guarded(select)

    def newest(self) -> int:
        """Number of the newest event, 0 when there is none."""
        return self._guarded(lambda: int(self._db.execute("SELECT max(seq) FROM event").fetchone()[0] or 0))

    def close(self) -> None:
        """Close the file; a crash without it loses nothing."""
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Opened by one thread of a pool of one, so "the same thread" holds for its whole life.
        db = sqlite3.connect(self._path, timeout=_BUSY_S)
        try:
            # Exclusive: a second process with the same name would reuse our numbers. The lock ends with the process.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(_SCHEMA)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _read_source(self) -> str:
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO outbox VALUES (1, ?)", (new_source(self._process),))
            row = self._db.execute("SELECT source FROM outbox").fetchone()
        return str(row[0])

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as exc:
            raise OutboxError(self._path, str(exc)) from exc
