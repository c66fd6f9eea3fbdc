"""Check usage against the facts about its call: its placement, its media process, its sessions' owners.

Signaling names the tenant of a call and the media process that may carry it; that process names the worker that owns a
session; that worker reports the session's usage. None can report for another (see
docs/adr/0017-an-identity-for-each-process.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.contracts.subjects import UsageSender
from services.contracts.usage import MEDIA_METERS, Meter, UsageData, UsageEvent
from services.metering.core.pricing import TRANSCRIBE_METERS
from services.metering.core.reading import Reason

EARLIER_FOR = timedelta(days=1)
"""How long after the upgrade of a ledger usage measured before it is booked without a placement."""
MAX_UNCLAIMED_MS = 120_000
"""Maximum duration of a session that media never claimed because the worker's answer was late or lost."""

SessionKey = tuple[str, int]
"""A session's id and the epoch of its owner."""


@dataclass(frozen=True, slots=True)
class PlacementRecord:
    """The placement of a call. ``placed``: its time, at most the time of receipt. Empty ``providers``: any."""

    tenant: str
    processes: frozenset[str]
    model: str
    providers: frozenset[str]
    max_seconds: int
    placed: datetime


@dataclass(frozen=True, slots=True)
class SessionOwner:
    """The worker of a session, as the call's media process named it."""

    worker: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Placement and session owners of a call."""

    placement: PlacementRecord | None = None
    owners: Mapping[SessionKey, SessionOwner] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a message cannot be booked. ``may_resolve``: the placement or owner that it needs may still arrive."""

    reason: Reason
    may_resolve: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """``since``: time from which placements are recorded; None: always."""

    since: datetime | None = None

    def is_earlier(self, made: datetime, *, now: datetime) -> bool:
        """Return whether ``made`` is before the upgrade to placements, so that the message is booked unchecked."""
        return self.since is not None and made < self.since and now < self.since + EARLIER_FOR


def key_of(data: UsageData) -> SessionKey:
    """Return the key of the session that the usage belongs to."""
    return (data.session_id, data.epoch)


def named_owner(event: UsageEvent, sender: UsageSender, facts: Facts) -> SessionOwner | None:
    """Return the session owner that a media event names for the first time; None: no new owner."""
    data = event.data
    if sender.role != "media" or not data.worker or key_of(data) in facts.owners:
        return None
    return SessionOwner(data.worker, data.provider, data.model)


def mismatch(event: UsageEvent, sender: UsageSender, facts: Facts) -> Mismatch | None:
    """Return why ``event`` cannot be booked; None: it can."""
    placement = facts.placement
    if placement is None:
        return Mismatch(Reason.NO_CALL, may_resolve=True)
    if event.subject != placement.tenant:
        return Mismatch(Reason.WRONG_TENANT)
    if placement.providers and event.data.provider not in placement.providers:
        return Mismatch(Reason.WRONG_PROVIDER)
    if sender.role == "media":
        return _media_mismatch(event.data, sender, placement, facts)
    return _upstream_mismatch(event.data, sender, placement, facts)


def may_be_unclaimed(event: UsageEvent) -> bool:
    """Return whether the event reports only session time, short enough for a session that media never claimed."""
    used = {meter: quantity for meter, quantity in event.data.meters.items() if quantity}
    return set(used) <= {Meter.SESSION_MS} and sum(used.values()) <= MAX_UNCLAIMED_MS


def process_mismatch(tenant: str, process: str, facts: Facts) -> Mismatch | None:
    """Return why ``process`` may not report on a call of ``tenant``; None: it may."""
    placement = facts.placement
    if placement is None:
        return Mismatch(Reason.NO_CALL, may_resolve=True)
    if tenant != placement.tenant:
        return Mismatch(Reason.WRONG_TENANT)
    # The offer may have just been sent to it, after another process that did not answer.
    return None if process in placement.processes else Mismatch(Reason.WRONG_PRODUCER, may_resolve=True)


def _media_mismatch(data: UsageData, sender: UsageSender, placement: PlacementRecord, facts: Facts) -> Mismatch | None:
    if not set(data.meters) <= MEDIA_METERS:
        return Mismatch(Reason.WRONG_METER)
    if wrong := process_mismatch(placement.tenant, sender.process, facts):
        return wrong
    if placement.model and data.model != placement.model:
        return Mismatch(Reason.WRONG_MODEL)
    known = facts.owners.get(key_of(data))
    reported = SessionOwner(data.worker, data.provider, data.model)
    return Mismatch(Reason.CHANGED) if known is not None and known != reported else None


def _upstream_mismatch(
    data: UsageData, sender: UsageSender, placement: PlacementRecord, facts: Facts
) -> Mismatch | None:
    if set(data.meters) & MEDIA_METERS:
        return Mismatch(Reason.WRONG_METER)
    owner = facts.owners.get(key_of(data))
    if owner is None:
        return Mismatch(Reason.UNCLAIMED, may_resolve=True)
    if owner.worker != sender.process:
        return Mismatch(Reason.WRONG_PRODUCER)
    if owner.provider != data.provider:
        return Mismatch(Reason.WRONG_PROVIDER)
    # Transcription is another model of the same provider, and the client chooses it.
    model = placement.model or owner.model
    wrong = data.model != model and not set(data.meters) <= TRANSCRIBE_METERS
    return Mismatch(Reason.WRONG_MODEL) if wrong else None
