"""What is not booked: held until it fits, or in quarantine until somebody looks. Nothing of it is lost."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, insert, null, select, update

from services.metering import rows, tables
from services.metering.core.reading import Place, Reason, Unbookable

_MAY_FIT = (Reason.NO_CALL, Reason.UNCLAIMED, Reason.WRONG_PRODUCER)
"""Of what is in quarantine: reasons that a placement or an owner that comes late takes away."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came."""

    subject: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Aside:
    """A message that is kept aside, and where."""

    table: Table
    number: int
    delivery: Delivery
    reason: Reason


def hold(db: Connection, delivery: Delivery, why: Unbookable, now: datetime) -> bool:
    """Keep a message that may fit later; False if it is held already."""
    return _keep(db, tables.held, delivery, why, now)


def quarantine(db: Connection, delivery: Delivery, why: Unbookable, now: datetime) -> None:
    """Keep a message that does not fit."""
    _keep(db, tables.quarantine, delivery, why, now)


def _keep(db: Connection, table: Table, delivery: Delivery, why: Unbookable, now: datetime) -> bool:
    digest = hashlib.sha256(delivery.subject.encode() + b"\n" + delivery.body).hexdigest()
    if db.scalar(select(table.c.id).where(table.c.body_hash == digest)) is not None:
        return False
    place: Place | None = why.place
    db.execute(
        insert(table).values(
            body_hash=digest,
            reason=why.reason,
            subject=delivery.subject,
            source=place.source if place else None,
            outboxseq=place.sequence if place else None,
            received_ms=rows.to_ms(now),
            body=delivery.body,
            call_id=why.call,
        )
    )
    return True


_HELD_OF = select(tables.held).where(tables.held.c.call_id == bindparam("of_call")).order_by(tables.held.c.id)
_KEPT_OF = (
    select(tables.quarantine)
    .where(
        tables.quarantine.c.call_id == bindparam("of_call"),
        tables.quarantine.c.reason.in_(_MAY_FIT),
        tables.quarantine.c.released_ms.is_(null()),
    )
    .order_by(tables.quarantine.c.id)
)


def of_call(db: Connection, call: str) -> list[Aside]:
    """What is kept aside of a call and may fit now."""
    held = _asides(tables.held, db.execute(_HELD_OF, {"of_call": call}).all())
    return held + _asides(tables.quarantine, db.execute(_KEPT_OF, {"of_call": call}).all())


def overdue(db: Connection, before: datetime, limit: int) -> list[Aside]:
    """What has been held since ``before`` or longer, the oldest first."""
    column = tables.held.c.received_ms
    found = select(tables.held).where(column <= rows.to_ms(before)).order_by(tables.held.c.id).limit(limit)
    return _asides(tables.held, db.execute(found).all())


def to_release(db: Connection, limit: int) -> list[Aside]:
    """What somebody wants booked all the same."""
    table = tables.quarantine
    wanted = (table.c.release_ms.is_not(null()), table.c.released_ms.is_(null()))
    return _asides(table, db.execute(select(table).where(*wanted).order_by(table.c.id).limit(limit)).all())


def _asides(table: Table, found: Sequence[Row[Any]]) -> list[Aside]:
    return [Aside(table, row.id, Delivery(row.subject, row.body), Reason(row.reason)) for row in found]


def booked(db: Connection, aside: Aside, now: datetime) -> None:
    """It is in the ledger now."""
    if aside.table is tables.held:
        db.execute(delete(tables.held).where(tables.held.c.id == aside.number))
    else:
        _mark(db, aside.number, released_ms=rows.to_ms(now))


def expired(db: Connection, aside: Aside, why: Unbookable, now: datetime) -> None:
    """It was held long enough."""
    db.execute(delete(tables.held).where(tables.held.c.id == aside.number))
    quarantine(db, aside.delivery, why, now)


def not_released(db: Connection, aside: Aside) -> None:
    """It cannot be booked, whoever wants it."""
    _mark(db, aside.number, release_ms=None)


def ask_release(db: Connection, number: int, now: datetime) -> bool:
    """Let metering book what is in quarantine under ``number``; False if there is nothing that waits for it."""
    table = tables.quarantine
    waiting = select(table.c.id).where(table.c.id == number, table.c.released_ms.is_(null()))
    if db.scalar(waiting) is None:
        return False
    _mark(db, number, release_ms=rows.to_ms(now))
    return True


def _mark(db: Connection, number: int, **values: int | None) -> None:
    db.execute(update(tables.quarantine).where(tables.quarantine.c.id == number).values(**values))
