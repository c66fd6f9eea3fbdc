"""`hushgate metering audit`: check that the ledger's projections agree with its append-only record."""

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from services.contracts import usage
from services.contracts.ids import CallId, TenantId
from services.contracts.usage import Meter
from services.metering import rows, tables
from services.metering.core.ledger import (
    Booked,
    LedgerLine,
    LedgerState,
    LineKey,
    MeterKey,
    MeterReading,
    decide,
    line_keys,
    meter_keys,
)
from services.metering.core.pricing import Books
from services.metering.dialect import connect, failed, ledger_url, snapshot
from services.metering.settings import MeteringSettings
from services.runtime.errors import HushgateError
from services.runtime.process.settings import load

Findings = list[str]
K = TypeVar("K")
V = TypeVar("V")


def main() -> int:
    """Print the differences found; exit code 1 if there are any. May run while metering runs."""
    try:
        settings = load(MeteringSettings)
        engine = connect(ledger_url(settings.secret("ledger_url").get_secret_value(), settings.data_dir))
        found = audit(engine)
    except HushgateError as exc:
        sys.stderr.write(f"hushgate metering audit: {exc}\n")
        return 2
    sys.stdout.writelines(f"{line}\n" for line in found or ["the ledger adds up"])
    return 1 if found else 0


def audit(engine: Engine) -> Findings:
    """Return a line for each figure that does not follow from the record, read in one snapshot.

    Raises:
        LedgerError: the database cannot be read.
    """
    try:
        with snapshot(engine).begin() as db:
            return [*_unbalanced(db), *_wrong_lines(db), *_wrong_totals(db)]
    except SQLAlchemyError as exc:
        raise failed(engine, exc) from exc


def rebuild(db: Connection) -> tuple[dict[MeterKey, MeterReading], dict[LineKey, int]]:
    """Return the projections recomputed from the events alone: the reading of each key, each line's quantity."""
    readings: dict[MeterKey, MeterReading] = {}
    lines: dict[LineKey, LedgerLine] = {}
    query = select(tables.event.c.body, tables.event.c.received_ms).order_by(tables.event.c.position)
    for body, received_ms in db.execute(query):
        event = usage.decode(body.encode())
        state = LedgerState(None, _select(readings, meter_keys(event)), _select(lines, line_keys(event)), None)
        verdict = decide(event, state, Books([]), now=rows.at(received_ms))
        if isinstance(verdict, Booked):
            readings |= verdict.readings
            lines |= verdict.lines
    return readings, {key: line.quantity for key, line in lines.items()}


def _select(whole: Mapping[K, V], keys: list[K]) -> dict[K, V]:
    return {key: whole[key] for key in keys if key in whole}


def _unbalanced(db: Connection) -> Findings:
    total = func.sum(tables.posting.c.amount_nano)
    query = select(tables.posting.c.journal_id, total).group_by(tables.posting.c.journal_id).having(total != 0)
    return [f"journal {row[0]}: its postings sum to {row[1]}, not to 0" for row in db.execute(query)]


def _wrong_lines(db: Connection) -> Findings:
    lines = rows.lines(db, select(tables.line))
    live = {key: (line.quantity, line.cost_nano) for key, line in lines.items()}
    quantities = _journal_sums(db, select(*_LINE, func.sum(tables.journal.c.quantity)).group_by(*_LINE))
    costs = _journal_sums(
        db,
        select(*_LINE, func.sum(tables.posting.c.amount_nano))
        .join(tables.posting, tables.posting.c.journal_id == tables.journal.c.id)
        .where(tables.posting.c.account.startswith("cost:", autoescape=True))
        .group_by(*_LINE),
    )
    recorded = {key: (quantities.get(key, 0), costs.get(key, 0)) for key in live.keys() | quantities.keys()}
    return [
        f"{key}: the line has {live.get(key, (0, 0))}, its journals {recorded[key]} (quantity, nano-USD)"
        for key in sorted(recorded)
        if live.get(key, (0, 0)) != recorded[key]
    ]


_LINE = (
    tables.journal.c.tenant,
    tables.journal.c.call_id,
    tables.journal.c.provider,
    tables.journal.c.model,
    tables.journal.c.meter,
)


def _journal_sums(db: Connection, query: Select[Any]) -> dict[LineKey, int]:
    return {
        LineKey(TenantId(row[0]), CallId(row[1]), row[2], row[3], Meter(row[4])): int(row[5])
        for row in db.execute(query)
    }


def _wrong_totals(db: Connection) -> Findings:
    readings, quantities = rebuild(db)
    live = rows.all_readings(db)
    lines = {key: line.quantity for key, line in rows.lines(db, select(tables.line)).items()}
    found = [f"{key}: live {live.get(key)}, rebuilt {readings.get(key)}" for key in _different(live, readings)]
    return found + [
        f"{key}: live {lines.get(key)}, rebuilt {quantities.get(key)}" for key in _different(lines, quantities)
    ]


def _different(left: Mapping[K, V], right: Mapping[K, V]) -> list[K]:
    return [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
