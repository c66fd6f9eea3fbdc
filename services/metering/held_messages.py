"""Messages that are not booked: held until they can be, or in quarantine until an operator acts. None is lost."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, insert, null, select, update

from services.metering import rows, tables
from services.metering.core.reading import OutboxPosition, Reason, Unbookable

_MAY_RESOLVE = (Reason.NO_CALL, Reason.UNCLAIMED, Reason.WRONG_PRODUCER)
"""Reasons of quarantine that a late placement or session owner resolves."""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message as received."""

    subject: str
    body: bytes


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message that is not booked, with its table and row."""

    table: Table
    number: int
    delivery: InboundMessage
    reason: Reason


def hold(db: Connection, delivery: InboundMessage, why: Unbookable, now: datetime) -> bool:
    """Hold a message that may become bookable; return False if it is already held."""
    return _insert(db, tables.held, delivery, why, now)


def quarantine(db: Connection, delivery: InboundMessage, why: Unbookable, now: datetime) -> None:
    """Put a message into quarantine, unless it is already there."""
    _insert(db, tables.quarantine, delivery, why, now)


def _insert(db: Connection, table: Table, delivery: InboundMessage, why: Unbookable, now: datetime) -> bool:
    digest = hashlib.sha256(delivery.subject.encode() + b"\n" + delivery.body).hexdigest()
    if db.scalar(select(table.c.id).where(table.c.body_hash == digest)) is not None:
        return False
    place: OutboxPosition | None = why.place
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
_QUARANTINED_OF = (
    select(tables.quarantine)
    .where(
        tables.quarantine.c.call_id == bindparam("of_call"),
        tables.quarantine.c.reason.in_(_MAY_RESOLVE),
        tables.quarantine.c.released_ms.is_(null()),
    )
    .order_by(tables.quarantine.c.id)
)


def of_call(db: Connection, call: str) -> list[HeldMessage]:
    """Return the messages of a call that may be bookable now."""
    held = _messages(tables.held, db.execute(_HELD_OF, {"of_call": call}).all())
    return held + _messages(tables.quarantine, db.execute(_QUARANTINED_OF, {"of_call": call}).all())


def overdue(db: Connection, before: datetime, limit: int) -> list[HeldMessage]:
    """Return up to ``limit`` messages held since ``before`` or longer, the oldest first."""
    column = tables.held.c.received_ms
    found = select(tables.held).where(column <= rows.to_ms(before)).order_by(tables.held.c.id).limit(limit)
    return _messages(tables.held, db.execute(found).all())


def to_release(db: Connection, limit: int) -> list[HeldMessage]:
    """Return up to ``limit`` quarantined messages that an operator has asked to release."""
    table = tables.quarantine
    wanted = (table.c.release_ms.is_not(null()), table.c.released_ms.is_(null()))
    return _messages(table, db.execute(select(table).where(*wanted).order_by(table.c.id).limit(limit)).all())


def _messages(table: Table, found: Sequence[Row[Any]]) -> list[HeldMessage]:
    return [HeldMessage(table, row.id, InboundMessage(row.subject, row.body), Reason(row.reason)) for row in found]


def mark_booked(db: Connection, message: HeldMessage, now: datetime) -> None:
    """Remove a held message, or mark a quarantined one as released, after it was booked."""
    if message.table is tables.held:
        db.execute(delete(tables.held).where(tables.held.c.id == message.number))
    else:
        _mark(db, message.number, released_ms=rows.to_ms(now))


def move_to_quarantine(db: Connection, message: HeldMessage, why: Unbookable, now: datetime) -> None:
    """Move a held message to quarantine."""
    db.execute(delete(tables.held).where(tables.held.c.id == message.number))
    quarantine(db, message.delivery, why, now)


def withdraw_release(db: Connection, message: HeldMessage) -> None:
    """Withdraw the request to release a message that cannot be booked."""
    _mark(db, message.number, release_ms=None)


def request_release(db: Connection, number: int, now: datetime) -> bool:
    """Ask metering to book the quarantined message ``number``; False if there is none that is unreleased."""
    table = tables.quarantine
    waiting = select(table.c.id).where(table.c.id == number, table.c.released_ms.is_(null()))
    if db.scalar(waiting) is None:
        return False
    _mark(db, number, release_ms=rows.to_ms(now))
    return True


def _mark(db: Connection, number: int, **values: int | None) -> None:
    db.execute(update(tables.quarantine).where(tables.quarantine.c.id == number).values(**values))
