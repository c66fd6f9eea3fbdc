"""Calls in the ledger: start, end, reason, sums."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, Text, bindparam, distinct, func, insert, literal, select, update

from services.contracts import messages, subjects
from services.contracts.call_history import CallEnded, CallStarted
from services.contracts.messages import MalformedMessageError
from services.contracts.usage import Meter, UsageEvent
from services.metering import rows, tables
from services.metering.core import validation
from services.metering.core.bill import BilledCall
from services.metering.core.reading import Reason
from services.metering.core.totals import Growth
from services.metering.core.validation import Facts, Mismatch

_TOKENS = 4  # hg.calls.<process>.started
_MAX_SKEW = timedelta(hours=1)
_TABLE = tables.call
_LINE = tables.line
_KNOWN = select(_TABLE.c.call_id).where(
    _TABLE.c.tenant == bindparam("of_tenant"), _TABLE.c.call_id == bindparam("of_call")
)


def read(body: bytes) -> CallStarted | CallEnded | None:
    """Decode a message of the stream `CALLS`; None if it is malformed or of another type."""
    try:
        message = messages.decode(body)
    except MalformedMessageError:
        return None
    return message if isinstance(message, CallStarted | CallEnded) else None


def mismatch(subject: str, record: CallStarted | CallEnded, facts: Facts, *, now: datetime) -> Mismatch | None:
    """Return why ``record`` cannot be booked, or None; ``subject`` names the process that published it."""
    if len(subject.split(".")) != _TOKENS or subjects.process_of(subject) != record.process:
        return Mismatch(Reason.WRONG_SUBJECT)
    mismatched = validation.process_mismatch(record.tenant, record.process, facts)
    if mismatched is not None or facts.placement is None:
        return mismatched
    # The price book of a call is that of its first day: a sender must not be able to choose another.
    times = [record.started_unix_ms, *([record.ended_unix_ms] if isinstance(record, CallEnded) else [])]
    known = facts.placement.placed - _MAX_SKEW <= rows.at(min(times)) and rows.at(max(times)) <= now + _MAX_SKEW
    return None if known else Mismatch(Reason.IMPLAUSIBLE)


def store(db: Connection, record: CallStarted | CallEnded) -> bool:
    """Store start or end of a call; idempotent, in any order. Returns True."""
    facts: dict[str, object] = {
        "provider": record.provider,
        "model": record.model,
        "first_ms": record.started_unix_ms,
        "started_ms": record.started_unix_ms,
    }
    if isinstance(record, CallEnded):
        facts |= {"ended_ms": record.ended_unix_ms, "ended_reason": record.reason}
    _save(db, record.tenant, record.call, facts)
    return True


def ensure_call(db: Connection, event: UsageEvent) -> None:
    """Create the call of a usage event if its start was not received: it starts with its first usage."""
    data = event.data
    if not _exists(db, event.subject, data.call_id):
        facts = {"provider": data.provider, "model": data.model, "first_ms": rows.to_ms(event.time)}
        _save(db, event.subject, data.call_id, facts)


def _exists(db: Connection, tenant: str, call: str) -> bool:
    return db.scalar(_KNOWN, {"of_tenant": tenant, "of_call": call}) is not None


def _save(db: Connection, tenant: str, call: str, facts: dict[str, Any]) -> None:
    if _exists(db, tenant, call):
        db.execute(update(_TABLE).where(_TABLE.c.tenant == tenant, _TABLE.c.call_id == call).values(**facts))
    else:
        db.execute(insert(_TABLE).values(tenant=tenant, call_id=call, **facts))


def find(db: Connection, tenant: str, call: str) -> BilledCall | None:
    """Return a call of this tenant, or None."""
    row = db.execute(select(_TABLE).where(_TABLE.c.tenant == tenant, _TABLE.c.call_id == call)).one_or_none()
    if row is None:
        return None
    return BilledCall(
        call_id=row.call_id,
        provider=row.provider,
        model=row.model,
        first_seen=rows.at(row.first_ms),
        started_at=rows.at(row.started_ms) if row.started_ms is not None else None,
        ended_at=rows.at(row.ended_ms) if row.ended_ms is not None else None,
        ended_reason=row.ended_reason,
    )


def calls_begun(tenant: str, start: datetime, end: datetime) -> Select[Any]:
    """Select the ids of a tenant's calls that began in [``start``, ``end``)."""
    first = _TABLE.c.first_ms
    return select(_TABLE.c.call_id).where(
        _TABLE.c.tenant == tenant, first >= rows.to_ms(start), first < rows.to_ms(end)
    )


def sums(tenant: str, calls: Select[Any]) -> Select[Any]:
    """Select the sums of the lines of ``calls`` per provider, model and meter, with an empty call id."""
    return (
        select(
            _LINE.c.tenant,
            literal("", Text).label("call_id"),
            _LINE.c.provider,
            _LINE.c.model,
            _LINE.c.meter,
            func.sum(_LINE.c.quantity).label("quantity"),
            func.sum(_LINE.c.cost_nano).label("cost_nano"),
            func.sum(_LINE.c.saved_nano).label("saved_nano"),
            func.max(_LINE.c.price_book).label("price_book"),
            func.max(_LINE.c.unpriced).label("unpriced"),
        )
        .where(_LINE.c.tenant == tenant, _LINE.c.call_id.in_(calls))
        .group_by(_LINE.c.tenant, _LINE.c.provider, _LINE.c.model, _LINE.c.meter)
    )


def results(db: Connection) -> tuple[Counter[str], Counter[str]]:
    """Return the number of events by result (duplicates are not stored: 0), and of quarantined ones by reason."""
    events = db.scalar(select(func.count()).select_from(tables.event)) or 0
    booked = db.scalar(select(func.count(distinct(tables.journal.c.event_position)))) or 0
    by_reason = select(tables.quarantine.c.reason, func.count()).group_by(tables.quarantine.c.reason)
    reasons = Counter({str(reason): int(count) for reason, count in db.execute(by_reason)})
    quarantined = reasons.total()
    held = db.scalar(select(func.count()).select_from(tables.held)) or 0
    counted = {
        "booked": booked,
        "superseded": events - booked,
        "quarantined": quarantined,
        "duplicate": 0,
        "held": held,
    }
    return Counter(counted), reasons


def all_sums(db: Connection) -> list[Growth]:
    """Return the sums of all lines by tenant, model and meter."""
    key = (_LINE.c.tenant, _LINE.c.provider, _LINE.c.model, _LINE.c.meter)
    totals = select(
        *key,
        func.sum(_LINE.c.quantity),
        func.sum(_LINE.c.cost_nano),
        func.sum(_LINE.c.saved_nano),
        func.sum(_LINE.c.unpriced),
    ).group_by(*key)
    return [Growth(*row[:3], Meter(row[3]), *map(int, row[4:])) for row in db.execute(totals)]
