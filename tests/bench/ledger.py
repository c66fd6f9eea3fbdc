"""`make bench-ledger`: usage events per second that the ledger books, singly and in batches. Prints a table.

Events of calls that go on, as media writes them every 5 s: three meters, priced, on SQLite with its settings. The
baseline, in the same run: one row and a commit with Python's own sqlite3 and the same guarantee for each event.
"""

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from uuid import uuid4

from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy.engine import URL

from services.contracts import subjects
from services.contracts.call_history import CallPlaced
from services.contracts.ids import CallId, Epoch, ProcessId, SessionId, TenantId, new_call_id, new_session_id
from services.contracts.usage import Meter, UsageData, new_source, usage_event
from services.media.usage import EVERY_S
from services.metering.core.pricing import Books
from services.metering.held_messages import InboundMessage
from services.metering.pricebooks import load_books
from services.metering.store import Ledger
from services.runtime import clock

CALLS = 100
ROUNDS = 12
BATCHES = (1, 10, 100)
TENANT = TenantId("acme")
SIDES = 2
"""Media and upstream each write usage of a call."""
MEDIA = ProcessId("media-0")
SOURCE = new_source(MEDIA)


def some_calls() -> list[tuple[CallId, SessionId]]:
    """Create call and session ids."""
    return [(new_call_id(), new_session_id()) for _ in range(CALLS)]


def placements(calls: Sequence[tuple[CallId, SessionId]]) -> list[InboundMessage]:
    """Their placement messages from signaling, an hour ago."""
    placed = [
        CallPlaced(
            call=call,
            tenant=TENANT,
            process=MEDIA,
            model="gpt-realtime-2.1",
            max_seconds=7200,
            placed_unix_ms=clock.unix_ms() - 3_600_000,
        )
        for call, _ in calls
    ]
    return [InboundMessage(subjects.PLACED, each.encode()) for each in placed]


def events(calls: Sequence[tuple[CallId, SessionId]]) -> Iterator[InboundMessage]:
    """An endless stream of usage events: all calls in turn, each 5 s later."""
    sequence = seq = 0
    while True:
        seq += 1
        for call, session in calls:
            sequence += 1
            data = UsageData(
                call_id=call,
                session_id=session,
                epoch=Epoch(1),
                seq=seq,
                provider="rehearsal",
                model="gpt-realtime-2.1",
                worker="upstream-0",
                meters={
                    Meter.AUDIO_GATED_MS: 3000 * seq,
                    Meter.AUDIO_PLAYED_MS: 2000 * seq,
                    Meter.CALL_MS: 5000 * seq,
                },
            )
            event = usage_event(
                data,
                event_id=uuid4().hex,
                source=SOURCE,
                tenant=TENANT,
                time=clock.utc_now(),
                sequence=sequence,
                floor=1,
            )
            yield InboundMessage(subjects.usage("media", MEDIA, TENANT), event.encode())


def took(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of ``work``."""
    began, before = clock.monotonic(), clock.cpu_s()
    work()
    return clock.monotonic() - began, clock.cpu_s() - before


def booked(folder: Path, books: Books, batch: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds per event."""
    calls = some_calls()
    source = events(calls)
    with Ledger.open(URL.create("sqlite", database=str(folder / f"{batch}.sqlite")), books) as ledger:
        ledger.record_placed(placements(calls), now=clock.utc_now())
        ledger.record([next(source) for _ in range(CALLS)], now=clock.utc_now())  # calls begin once
        rounds = []
        for _ in range(ROUNDS):
            batches = [[next(source) for _ in range(batch)] for _ in range(CALLS // batch)]
            rounds.append(took(lambda given=batches: [ledger.record(one, now=clock.utc_now()) for one in given]))  # type: ignore[misc]
    return median(wall for wall, _ in rounds) / CALLS, median(cpu for _, cpu in rounds) / CALLS


def plain(folder: Path) -> tuple[float, float]:
    """The baseline."""
    db = sqlite3.connect(folder / "plain.sqlite")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body TEXT)")
    bodies = [delivery.body.decode() for delivery, _ in zip(events(some_calls()), range(CALLS), strict=False)]

    def work() -> None:
        for body in bodies:
            with db:
                db.execute("INSERT INTO event (body) VALUES (?)", (body,))

    rounds = [took(work) for _ in range(ROUNDS)]
    db.close()
    return median(wall for wall, _ in rounds) / CALLS, median(cpu for _, cpu in rounds) / CALLS


def main() -> int:
    """Measure and print."""
    console = Console()
    table = Table("", "ms an event", "ms of CPU", "events/s", "calls at once", "to the baseline")
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as name:
        folder, books = Path(name), load_books(None)
        base_wall, base_cpu = plain(folder)
        table.add_row("one row with sqlite3", f"{1000 * base_wall:.2f}", f"{1000 * base_cpu:.2f}", "", "", "1")
        for batch in track(BATCHES, "booking", console=console):
            wall, cpu = booked(folder, books, batch)
            calls = int(EVERY_S / SIDES / wall)
            table.add_row(
                f"batches of {batch}",
                f"{1000 * wall:.2f}",
                f"{1000 * cpu:.2f}",
                f"{1 / wall:.0f}",
                str(calls),
                f"{wall / base_wall:.1f}",
            )
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
