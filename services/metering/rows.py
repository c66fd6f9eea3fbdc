"""Between the ledger's rows and the core's objects.

Statements of every event are made once: SQLAlchemy takes longer to put one together than the database to do it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, bindparam, insert, select, update

from services.contracts.ids import CallId, SessionId, TenantId
from services.contracts.usage import Meter, UsageEvent
from services.metering import tables
from services.metering.core.ledger import Held, Journal, Known, Line, LineKey, MeterKey, meter_keys


def _is(table: Table, *names: str) -> ColumnElement[bool]:
    """Of columns that are given when the statement is used, as ``of_`` and their names."""
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
    """Milliseconds since 1970 as a time."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def to_ms(time: datetime) -> int:
    """A time as milliseconds since 1970."""
    return round(time.timestamp() * 1000)


def known(db: Connection, event: UsageEvent) -> Known:
    """What the ledger has of ``event``, its keys and its call."""
    call = _of(tenant=event.subject, call_id=event.data.call_id)
    started = db.scalar(_STARTED, call)
    return Known(
        content=db.scalar(_CONTENT, _of(id=event.id)),
        held=_held(db, event),
        lines=lines(db, _LINES, call),
        started=at(started) if started is not None else None,
    )


def _held(db: Connection, event: UsageEvent) -> dict[MeterKey, Held]:
    key = meter_keys(event)[0]  # one event speaks about time meters or about exact ones of one reference
    rows = db.execute(
        _HELD, _of(tenant=key.tenant, call_id=key.call, session_id=key.session, epoch=key.epoch, ref=key.ref)
    )
    return {_meter_key(row): Held(row.quantity, row.seq, row.provider, row.model) for row in rows}


def all_held(db: Connection) -> dict[MeterKey, Held]:
    """What counts, for every key there is."""
    rows = db.execute(select(tables.meter_total))
    return {_meter_key(row): Held(row.quantity, row.seq, row.provider, row.model) for row in rows}


def _meter_key(row: Row[Any]) -> MeterKey:
    return MeterKey(
        tenant=TenantId(row.tenant),
        call=CallId(row.call_id),
        session=SessionId(row.session_id),
        epoch=row.epoch,
        ref=row.ref,
        meter=Meter(row.meter),
    )


def lines(db: Connection, query: Select[Any], given: Mapping[str, object] | None = None) -> dict[LineKey, Line]:
    """The lines that ``query`` selects from the table `line`, with what is ``given`` to it."""
    return {
        LineKey(TenantId(row.tenant), CallId(row.call_id), row.provider, row.model, Meter(row.meter)): Line(
            quantity=int(row.quantity),
            cost_nano=int(row.cost_nano),
            saved_nano=int(row.saved_nano),
            price_book=row.price_book,
            unpriced=bool(row.unpriced),
        )
        for row in db.execute(query, given)
    }


def save_held(db: Connection, held: Mapping[MeterKey, Held]) -> None:
    """Write what counts for each key."""
    for key, said in held.items():
        where = {
            "tenant": key.tenant,
            "call_id": key.call,
            "session_id": key.session,
            "epoch": key.epoch,
            "ref": key.ref,
            "meter": key.meter,
        }
        what = {"quantity": said.quantity, "seq": said.seq, "provider": said.provider, "model": said.model}
        _save(db, tables.meter_total, where, what)


def save_lines(db: Connection, changed: Mapping[LineKey, Line]) -> None:
    """Write the totals of calls."""
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
    # Portable: there is one writer, so nobody can insert between the two.
    change = _of(**where) | {f"to_{name}": value for name, value in what.items()}
    if not db.execute(_CHANGES[table], change).rowcount:
        db.execute(_ADDITIONS[table], {**where, **what})


def save_source(db: Connection, source: str, watermark: int) -> None:
    """Write how far an outbox is in the ledger."""
    _save(db, tables.source, {"source": source}, {"watermark": watermark})


def add_event(db: Connection, event: UsageEvent, body: str, *, received_ms: int) -> int:
    """Append to the record; gives the position."""
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
    """Append a row; gives its number."""
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
