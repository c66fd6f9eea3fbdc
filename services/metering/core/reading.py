"""Decode messages into usage events that can be booked, or the reason why not."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from pydantic import ValidationError

from services.contracts import subjects, usage
from services.contracts.subjects import UsageSender
from services.contracts.usage import (
    MAX_EVENT_BYTES,
    TIME_METERS,
    MalformedUsageError,
    Meter,
    UsageEvent,
    is_source_of,
)

MAX_INTEGER = 2**63 - 1


class Reason(StrEnum):
    """Why an event is held or quarantined instead of booked; label of the metric and column of the table."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNKNOWN_METER = "unknown_meter"
    WRONG_HASH = "wrong_hash"
    WRONG_SUBJECT = "wrong_subject"
    WRONG_SOURCE = "wrong_source"
    WRONG_TENANT = "wrong_tenant"
    WRONG_PRODUCER = "wrong_producer"
    WRONG_PROVIDER = "wrong_provider"
    WRONG_MODEL = "wrong_model"
    WRONG_METER = "wrong_meter"
    NO_CALL = "no_call"
    UNCLAIMED = "unclaimed"
    OVER_TIME = "over_time"
    OVER_PRICE = "over_price"
    MIXED_METERS = "mixed_meters"
    NO_REFERENCE = "no_reference"
    IMPLAUSIBLE = "implausible"
    FUTURE = "future"
    TOO_LATE = "too_late"
    CHANGED = "changed"
    SHRUNK = "shrunk"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class OutboxPosition:
    """Position of an event in its outbox; ``floor``: the outbox has deleted everything below."""

    source: str
    sequence: int
    floor: int
    process: str
    """The process that owns the outbox."""


@dataclass(frozen=True, slots=True)
class Unbookable:
    """An event that cannot be booked. ``place`` is None if the position cannot be read or is not the sender's."""

    reason: Reason
    place: OutboxPosition | None
    call: str | None = None


@dataclass(frozen=True, slots=True)
class ReceivedUsage:
    """A valid event. ``sender`` and ``place`` are None for older versions, whose subjects named no process."""

    event: UsageEvent
    sender: UsageSender | None
    place: OutboxPosition | None


def read(body: bytes, *, subject: str) -> ReceivedUsage | Unbookable:
    """Decode and check a message; NATS permissions guarantee that its sender may publish to ``subject``."""
    sender = subjects.usage_sender(subject)
    tenant = _earlier_tenant(subject) if sender is None else sender.tenant
    try:
        event = usage.decode(body)
    except MalformedUsageError:
        content = _json(body)
        return Unbookable(_decode_fault(body, content), _place(content, sender))
    call = event.data.call_id
    if tenant is None:
        return Unbookable(Reason.WRONG_SUBJECT, None, call)
    place = place_of(event, sender)
    if sender is not None and place is None:
        return Unbookable(Reason.WRONG_SOURCE, None, call)
    fault = _fault(event, tenant)
    return Unbookable(fault, place, call) if fault else ReceivedUsage(event, sender, place)


def place_of(event: UsageEvent, sender: UsageSender | None) -> OutboxPosition | None:
    """Return the event's position in its outbox; None unless the outbox is the sender's own."""
    if sender is None or not is_source_of(event.source, sender.process):
        return None
    return OutboxPosition(event.source, event.outboxseq, min(event.outboxfloor, event.outboxseq), sender.process)


def _earlier_tenant(subject: str) -> str | None:
    """Return the tenant of `hg.usage.<tenant>`, the subject of older versions, or None."""
    match subject.split("."):
        case ["hg", "usage", tenant]:
            return tenant
    return None


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


def _decode_fault(body: bytes, content: object) -> Reason:
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


def _place(content: object, sender: UsageSender | None) -> OutboxPosition | None:
    if not isinstance(content, dict) or sender is None:
        return None
    source, sequence, floor = (content.get(name) for name in ("source", "outboxseq", "outboxfloor"))
    if not isinstance(source, str) or not is_source_of(source, sender.process) or not _is_number(sequence):
        return None
    return OutboxPosition(source, sequence, min(floor, sequence) if _is_number(floor) else 1, sender.process)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_INTEGER
