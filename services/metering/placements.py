"""What is known of calls, in the database: who placed them, who owns their sessions."""

import json
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, insert, select

from services.contracts import messages
from services.contracts.ids import CallId
from services.contracts.messages import CallPlaced, MalformedMessageError
from services.metering import rows, tables
from services.metering.core.fitting import Facts, Owner, Placement, SessionKey

_OVERLAP = timedelta(hours=1)
"""Placements of so long before the last are read again at the start: clocks differ."""
_PLACEMENTS = select(tables.placement).where(tables.placement.c.call_id == bindparam("of_call"))
_OWNERS = select(tables.owner).where(tables.owner.c.call_id == bindparam("of_call"))
_NEW_PLACEMENT = insert(tables.placement)
_NEW_OWNER = insert(tables.owner)


def facts(db: Connection, call: CallId) -> Facts:
    """All that is known of a call."""
    placements = db.execute(_PLACEMENTS, {"of_call": call}).all()
    if not placements:
        return Facts()
    first = min(placements, key=lambda row: row.placed_ms)
    placement = Placement(
        tenant=first.tenant,
        processes=frozenset(row.process for row in placements),
        model=first.model,
        providers=frozenset(json.loads(first.providers)),
        max_seconds=first.max_seconds,
        placed=rows.at(min(min(row.placed_ms, row.received_ms) for row in placements)),
    )
    owners = {
        (row.session_id, row.epoch): Owner(row.worker, row.provider, row.model)
        for row in db.execute(_OWNERS, {"of_call": call})
    }
    return Facts(placement, owners)


def note(db: Connection, body: bytes, now: datetime) -> CallPlaced | None:
    """Keep what signaling says of a call, any number of times; None if it is no such message."""
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


def own(db: Connection, call: CallId, session: SessionKey, owner: Owner) -> None:
    """Keep who owns a session."""
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
    """Since when placements are known; None: always."""
    since = db.scalar(select(tables.known_since.c.since_ms))
    return rows.at(since) if since is not None else None


def read_from(db: Connection) -> datetime | None:
    """From when on placements may be missing here; None: all may."""
    last = db.scalar(select(func.max(tables.placement.c.received_ms)))
    return rows.at(last) - _OVERLAP if last is not None else None
