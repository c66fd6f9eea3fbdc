"""Between the ledger's rows and the core's objects."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, and_, insert, select, update

from services.contracts.ids import CallId, SessionId, TenantId
from services.contracts.usage import Meter, UsageEvent
from services.metering import tables
from services.metering.core.ledger import Held, Journal, Known, Line, LineKey, MeterKey, meter_keys


def at(unix_ms: int) -> datetime:
    """Milliseconds since 1970 as a time."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def to_ms(time: datetime) -> int:
    """A time as milliseconds since 1970."""
    return round(time.timestamp() * 1000)


def known(db: Connection, event: UsageEvent) -> Known:
    """What the ledger has of ``event``, its keys and its call."""
    call = event.data.call_id
    content = db.scalar(select(tables.event.c.content_hash).where(tables.event.c.id == event.id))
    started = db.scalar(select(tables.call.c.started_ms).where(_of_call(tables.call, event.subject, call)))
    return Known(
        content=content,
        held=_held(db, event),
        lines=lines(db, select(tables.line).where(_of_call(tables.line, event.subject, call))),
        started=at(started) if started is not None else None,
    )


def _of_call(table: Table, tenant: str, call: str) -> Any:  # noqa: ANN401 - an expression of SQLAlchemy
    return and_(table.c.tenant == tenant, table.c.call_id == call)


def _held(db: Connection, event: UsageEvent) -> dict[MeterKey, Held]:
    key = meter_keys(event)[0]  # one event speaks about time meters or about exact ones of one reference
    found = tables.meter_total
    rows = db.execute(
        select(found).where(
            _of_call(found, key.tenant, key.call),
            found.c.session_id == key.session,
            found.c.epoch == key.epoch,
            found.c.ref == key.ref,
        )
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


def lines(db: Connection, query: Select[Any]) -> dict[LineKey, Line]:
    """The lines that ``query`` selects from the table `line`."""
    return {
        LineKey(TenantId(row.tenant), CallId(row.call_id), row.provider, row.model, Meter(row.meter)): Line(
            quantity=int(row.quantity),
            cost_nano=int(row.cost_nano),
            saved_nano=int(row.saved_nano),
            price_book=row.price_book,
            unpriced=bool(row.unpriced),
        )
        for row in db.execute(query)
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
    condition = and_(*(table.c[name] == value for name, value in where.items()))
    if not db.execute(update(table).where(condition).values(**what)).rowcount:
        db.execute(insert(table).values(**where, **what))


def save_source(db: Connection, source: str, watermark: int) -> None:
    """Write how far an outbox is in the ledger."""
    _save(db, tables.source, {"source": source}, {"watermark": watermark})


def add_event(db: Connection, event: UsageEvent, body: str, *, received_ms: int) -> int:
    """Append to the record; gives the position."""
    done = db.execute(
        insert(tables.event).values(
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
    )
    return _new_id(done.inserted_primary_key)


def _new_id(key: Any) -> int:  # noqa: ANN401 - a row of SQLAlchemy
    return int(key[0])


def add_journal(db: Connection, entry: Journal, *, event_position: int | None, booked_ms: int) -> None:
    """Append a journal and its postings."""
    done = db.execute(
        insert(tables.journal).values(
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
    )
    journal_id = _new_id(done.inserted_primary_key)
    for posting in entry.postings:
        db.execute(
            insert(tables.posting).values(
                journal_id=journal_id, account=posting.account, amount_nano=posting.amount_nano
            )
        )
