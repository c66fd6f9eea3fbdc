"""From bytes to a usage event that can be booked, or the reason why not."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from pydantic import ValidationError

from services.contracts import usage
from services.contracts.usage import MAX_EVENT_BYTES, TIME_METERS, MalformedUsageError, Meter, UsageEvent

MAX_INTEGER = 2**63 - 1
_SOURCE = re.compile(r"[A-Za-z0-9_-]{1,96}\Z")


class Reason(StrEnum):
    """Why an event is kept aside instead of booked; the label of the metric and the column of the table."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNKNOWN_METER = "unknown_meter"
    WRONG_HASH = "wrong_hash"
    WRONG_TENANT = "wrong_tenant"
    MIXED_METERS = "mixed_meters"
    NO_REFERENCE = "no_reference"
    IMPLAUSIBLE = "implausible"
    FUTURE = "future"
    TOO_LATE = "too_late"
    CHANGED = "changed"
    SHRUNK = "shrunk"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stood in the outbox that sent it; ``floor``: everything below is gone there."""

    source: str
    sequence: int
    floor: int


@dataclass(frozen=True, slots=True)
class Unbookable:
    """An event for the quarantine. ``place`` is None when not even that can be read."""

    reason: Reason
    place: Place | None


def read(body: bytes, *, tenant: str) -> UsageEvent | Unbookable:
    """Check what came on the subject of ``tenant``; that subject is what the sender was allowed to write to."""
    try:
        event = usage.decode(body)
    except MalformedUsageError:
        content = _json(body)
        return Unbookable(_what_is_wrong(body, content), _place(content))
    fault = _fault(event, tenant)
    return Unbookable(fault, place_of(event)) if fault else event


def place_of(event: UsageEvent) -> Place:
    """Where ``event`` stood in its outbox."""
    return Place(event.source, event.outboxseq, min(event.outboxfloor, event.outboxseq))


def _fault(event: UsageEvent, tenant: str) -> Reason | None:
    if event.subject != tenant:
        return Reason.WRONG_TENANT
    if max(event.outboxseq, event.data.epoch, event.data.seq) > MAX_INTEGER:
        return Reason.IMPLAUSIBLE
    timed = [meter in TIME_METERS for meter in event.data.meters]
    if any(timed) != all(timed):
        return Reason.MIXED_METERS
    return None if all(timed) or event.data.provider_ref else Reason.NO_REFERENCE


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _what_is_wrong(body: bytes, content: object) -> Reason:
    if len(body) > MAX_EVENT_BYTES:
        return Reason.TOO_LARGE
    data = content.get("data") if isinstance(content, dict) else None
    meters = data.get("meters") if isinstance(data, dict) else None
    if isinstance(meters, dict) and not set(meters) <= set(Meter):
        return Reason.UNKNOWN_METER
    try:
        UsageEvent.model_validate_json(body)
    except ValidationError:
        return Reason.MALFORMED
    return Reason.WRONG_HASH


def _place(content: object) -> Place | None:
    if not isinstance(content, dict):
        return None
    source, sequence, floor = (content.get(name) for name in ("source", "outboxseq", "outboxfloor"))
    if not isinstance(source, str) or not _SOURCE.match(source) or not _is_number(sequence):
        return None
    return Place(source, sequence, min(floor, sequence) if _is_number(floor) else 1)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_INTEGER
