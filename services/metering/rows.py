"""Convert between the ledger's rows and the core's objects.

Statements used for every event are built once: SQLAlchemy takes longer to build one than the database to run it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, bindparam, insert, select, update

from services.contracts.ids import CallId, SessionId, TenantId
from services.contracts.usage import Meter, UsageEvent
from services.metering import tables
from services.metering.core.ledger import Journal, LedgerLine, LedgerState, LineKey, MeterKey, MeterReading, meter_keys


def _is(table: Table, *names: str) -> ColumnElement[bool]:
    """Match the columns ``names`` with bind parameters named ``of_`` + column name."""
    return and_(*(table.c[name] == bindparam(f"of_{name}") for name in names))


def _of(**values: object) -> dict[str, object]:
    return {f"of_{name}": value for name, value in values.items()}


_CONTENT = select(tables.event.c.content_hash).where(_is(tables.event, "id"))
_STARTED = select(tables.call.c.started_ms).where(_is(tables.call, "tenant", "call_id"))
_LINES = select(tables.line).where(_is(tables.line, "tenant", "call_id"))
_HELD = select(tables.meter_total).where(_is(tables.meter_total, "tenant", "call_id", "session_id", "epoch", "ref"))
_CHANGES = {
    table: update(table)
    .where(_is(table, *(column.name for column in table.primary_key)))
    .values({column.name: bindparam(f"to_{column.name}") for column in table.c if not column.primary_key})
    for table in (tables.meter_total, tables.line, tables.source)
}
_ADDITIONS = {
    table: insert(table)
    for table in (tables.meter_total, tables.line, tables.source, tables.event, tables.journal, tables.posting)
}


def at(unix_ms: int) -> datetime:
    """Convert Unix milliseconds to a UTC time."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def to_ms(time: datetime) -> int:
    """Convert a time to Unix milliseconds."""
    return round(time.timestamp() * 1000)


def ledger_state(db: Connection, event: UsageEvent) -> LedgerState:
    """Read the ledger's state for ``event``, its keys and its call."""
    call = _of(tenant=event.subject, call_id=event.data.call_id)
    started = db.scalar(_STARTED, call)
    return LedgerState(
        content=db.scalar(_CONTENT, _of(id=event.id)),
        readings=_readings(db, event),
        lines=lines(db, _LINES, call),
        started=at(started) if started is not None else None,
    )


def _readings(db: Connection, event: UsageEvent) -> dict[MeterKey, MeterReading]:
    key = meter_keys(event)[0]  # an event reports either time meters or exact meters of one reference
    rows = db.execute(
        _HELD, _of(tenant=key.tenant, call_id=key.call, session_id=key.session, epoch=key.epoch, ref=key.ref)
    )
    return {_meter_key(row): MeterReading(row.quantity, row.seq, row.provider, row.model) for row in rows}


def all_readings(db: Connection) -> dict[MeterKey, MeterReading]:
    """Return the current reading of every meter key."""
    rows = db.execute(select(tables.meter_total))
    return {_meter_key(row): MeterReading(row.quantity, row.seq, row.provider, row.model) for row in rows}


def _meter_key(row: Row[Any]) -> MeterKey:
    return MeterKey(
        tenant=TenantId(row.tenant),
        call=CallId(row.call_id),
        session=SessionId(row.session_id),
        epoch=row.epoch,
        ref=row.ref,
        meter=Meter(row.meter),
    )


def lines(db: Connection, query: Select[Any], given: Mapping[str, object] | None = None) -> dict[LineKey, LedgerLine]:
    """Return the lines that ``query`` selects from the table `line`; ``given``: its bind parameters."""
    return {
        LineKey(TenantId(row.tenant), CallId(row.call_id), row.provider, row.model, Meter(row.meter)): LedgerLine(
            quantity=int(row.quantity),
            cost_nano=int(row.cost_nano),
            saved_nano=int(row.saved_nano),
            price_book=row.price_book,
            unpriced=bool(row.unpriced),
        )
        for row in db.execute(query, given)
    }


def save_readings(db: Connection, readings: Mapping[MeterKey, MeterReading]) -> None:
    """Store the current readings."""
    for key, reading in readings.items():
        where = {
            "tenant": key.tenant,
            "call_id": key.call,
            "session_id": key.session,
            "epoch": key.epoch,
            "ref": key.ref,
            "meter": key.meter,
        }
        what = {"quantity": reading.quantity, "seq": reading.seq, "provider": reading.provider, "model": reading.model}
        _save(db, tables.meter_total, where, what)


def save_lines(db: Connection, changed: Mapping[LineKey, LedgerLine]) -> None:
    """Store the lines."""
    for key, line in changed.items():
        where = {
            "tenant": key.tenant,
            "call_id": key.call,
            "provider": key.provider,
            "model": key.model,
            "meter": key.meter,
        }
        what = {
            "quantity": line.quantity,
            "cost_nano": line.cost_nano,
            "saved_nano": line.saved_nano,
            "price_book": line.price_book,
            "unpriced": int(line.unpriced),
        }
        _save(db, tables.line, where, what)


def _save(db: Connection, table: Table, where: Mapping[str, object], what: Mapping[str, object]) -> None:
    # No upsert, which is not portable: there is one writer, so no insert can happen between the two.
    change = _of(**where) | {f"to_{name}": value for name, value in what.items()}
    if not db.execute(_CHANGES[table], change).rowcount:
        db.execute(_ADDITIONS[table], {**where, **what})


def save_source(db: Connection, source: str, watermark: int) -> None:
    """Store the watermark of an outbox."""
    _save(db, tables.source, {"source": source}, {"watermark": watermark})


def add_event(db: Connection, event: UsageEvent, body: str, *, received_ms: int) -> int:
    """Append an event to the record and return its position."""
    return _add(
        db,
        tables.event,
        id=event.id,
        source=event.source,
        outboxseq=event.outboxseq,
        tenant=event.subject,
        call_id=event.data.call_id,
        time_ms=to_ms(event.time),
        received_ms=received_ms,
        content_hash=event.contenthash,
        body=body,
    )


def _add(db: Connection, table: Table, **row: object) -> int:
    """Insert a row and return its id."""
    key: Any = db.execute(_ADDITIONS[table], row).inserted_primary_key
    return int(key[0])


def add_journal(db: Connection, entry: Journal, *, event_position: int | None, booked_ms: int) -> None:
    """Append a journal and its postings."""
    number = _add(
        db,
        tables.journal,
        event_position=event_position,
        tenant=entry.key.tenant,
        call_id=entry.key.call,
        provider=entry.key.provider,
        model=entry.key.model,
        meter=entry.key.meter,
        quantity=entry.quantity,
        price_book=entry.price_book,
        booked_ms=booked_ms,
    )
    postings = [
        {"journal_id": number, "account": posting.account, "amount_nano": posting.amount_nano}
        for posting in entry.postings
    ]
    if postings:
        db.execute(_ADDITIONS[tables.posting], postings)
