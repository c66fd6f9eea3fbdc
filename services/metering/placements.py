"""Placements and session owners of calls in the database."""

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, insert, select

from services.contracts import messages
from services.contracts.call_history import CallPlaced
from services.contracts.ids import CallId
from services.contracts.messages import MalformedMessageError
from services.metering import rows, tables
from services.metering.core.validation import Facts, PlacementRecord, SessionKey, SessionOwner

_OVERLAP = timedelta(hours=1)
"""How much before the last placement a starting process reads again, because clocks differ."""
_PLACEMENTS = select(tables.placement).where(tables.placement.c.call_id == bindparam("of_call"))
_OWNERS = select(tables.owner).where(tables.owner.c.call_id == bindparam("of_call"))
_NEW_PLACEMENT = insert(tables.placement)
_NEW_OWNER = insert(tables.owner)


def facts(db: Connection, call: CallId) -> Facts:
    """Return placement and session owners of a call."""
    placements = db.execute(_PLACEMENTS, {"of_call": call}).all()
    if not placements:
        return Facts()
    first = min(placements, key=lambda row: row.placed_ms)
    placement = PlacementRecord(
        tenant=first.tenant,
        processes=frozenset(row.process for row in placements),
        model=first.model,
        providers=frozenset(json.loads(first.providers)),
        max_seconds=first.max_seconds,
        placed=rows.at(min(min(row.placed_ms, row.received_ms) for row in placements)),
    )
    owners = {
        (row.session_id, row.epoch): SessionOwner(row.worker, row.provider, row.model)
        for row in db.execute(_OWNERS, {"of_call": call})
    }
    return Facts(placement, owners)


def store_placement(db: Connection, body: bytes, now: datetime) -> CallPlaced | None:
    """Store a placement (idempotent) and return it; None if the message is not a placement."""
    try:
        placed = messages.decode(body)
    except MalformedMessageError:
        return None
    if not isinstance(placed, CallPlaced):
        return None
    known = {row.process: row.tenant for row in db.execute(_PLACEMENTS, {"of_call": placed.call})}
    if placed.process not in known and set(known.values()) <= {placed.tenant}:
        row = {
            "call_id": placed.call,
            "process": placed.process,
            "tenant": placed.tenant,
            "model": placed.model,
            "providers": json.dumps(placed.providers),
            "max_seconds": placed.max_seconds,
            "placed_ms": placed.placed_unix_ms,
            "received_ms": rows.to_ms(now),
        }
        db.execute(_NEW_PLACEMENT, row)
    return placed


def store_owner(db: Connection, call: CallId, session: SessionKey, owner: SessionOwner) -> None:
    """Store the owner of a session."""
    row = {
        "call_id": call,
        "session_id": session[0],
        "epoch": session[1],
        "worker": owner.worker,
        "provider": owner.provider,
        "model": owner.model,
    }
    db.execute(_NEW_OWNER, row)


def known_since(db: Connection) -> datetime | None:
    """Return the time from which placements are recorded; None: always."""
    since = db.scalar(select(tables.known_since.c.since_ms))
    return rows.at(since) if since is not None else None


def read_from(db: Connection) -> datetime | None:
    """Return the time from which placements may be missing in the database; None: all may be."""
    last = db.scalar(select(func.max(tables.placement.c.received_ms)))
    return rows.at(last) - _OVERLAP if last is not None else None
