"""Whether usage fits what is known of its call: who placed it, who carries it, who may say this.

Signaling says whose call it is and which media process may carry it; that process says which worker owns a session of
it; that worker says what the session used. None can speak for another (docs/adr/0017-an-identity-for-each-process.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.contracts.subjects import UsageSender
from services.contracts.usage import MEDIA_METERS, Meter, UsageData, UsageEvent
from services.metering.core.pricing import TRANSCRIBE_METERS
from services.metering.core.reading import Reason

EARLIER_FOR = timedelta(days=1)
"""So long after an upgrade of the ledger what was measured before it is booked, though nobody said who placed it."""
UNHEARD_MS = 120_000
"""A session that media never took up, because the worker's answer was late or lost, ends within a minute or two."""

SessionKey = tuple[str, int]
"""A session's id and the epoch of its owner."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What signaling said of a call. ``placed``: when, but not later than it was heard here. No providers: any."""

    tenant: str
    processes: frozenset[str]
    model: str
    providers: frozenset[str]
    max_seconds: int
    placed: datetime


@dataclass(frozen=True, slots=True)
class Owner:
    """The worker of a session, as the call's media process named it."""

    worker: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a call."""

    placement: Placement | None = None
    owners: Mapping[SessionKey, Owner] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why the ledger must not believe something. ``may_fit``: what would make it fit may still be on its way."""

    reason: Reason
    may_fit: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """``since``: placements are known from then on; None for always."""

    since: datetime | None = None

    def is_earlier(self, made: datetime, *, now: datetime) -> bool:
        """Whether what was made then cannot be judged: it is of a version that told nobody who placed a call."""
        return self.since is not None and made < self.since and now < self.since + EARLIER_FOR


def key_of(data: UsageData) -> SessionKey:
    """The session that the usage is of."""
    return (data.session_id, data.epoch)


def owner_said(event: UsageEvent, sender: UsageSender, facts: Facts) -> Owner | None:
    """The owner of a session that a fitting event of media names for the first time."""
    data = event.data
    if sender.role != "media" or not data.worker or key_of(data) in facts.owners:
        return None
    return Owner(data.worker, data.provider, data.model)


def misfit(event: UsageEvent, sender: UsageSender, facts: Facts) -> Misfit | None:
    """Why the ledger must not believe ``event``, if so."""
    placement = facts.placement
    if placement is None:
        return Misfit(Reason.NO_CALL, may_fit=True)
    if event.subject != placement.tenant:
        return Misfit(Reason.WRONG_TENANT)
    if placement.providers and event.data.provider not in placement.providers:
        return Misfit(Reason.WRONG_PROVIDER)
    if sender.role == "media":
        return _of_media(event.data, sender, placement, facts)
    return _of_upstream(event.data, sender, placement, facts)


def is_unheard(event: UsageEvent) -> bool:
    """Whether it is no more than the time of a session that media never took up."""
    used = {meter: quantity for meter, quantity in event.data.meters.items() if quantity}
    return set(used) <= {Meter.SESSION_MS} and sum(used.values()) <= UNHEARD_MS


def misplaced(tenant: str, process: str, facts: Facts) -> Misfit | None:
    """Why what a media process says of a call is not believed, if so: the call is another's, or elsewhere."""
    placement = facts.placement
    if placement is None:
        return Misfit(Reason.NO_CALL, may_fit=True)
    if tenant != placement.tenant:
        return Misfit(Reason.WRONG_TENANT)
    # It may have been asked just now, after another that did not answer.
    return None if process in placement.processes else Misfit(Reason.WRONG_PRODUCER, may_fit=True)


def _of_media(data: UsageData, sender: UsageSender, placement: Placement, facts: Facts) -> Misfit | None:
    if not set(data.meters) <= MEDIA_METERS:
        return Misfit(Reason.WRONG_METER)
    if wrong := misplaced(placement.tenant, sender.process, facts):
        return wrong
    if placement.model and data.model != placement.model:
        return Misfit(Reason.WRONG_MODEL)
    known = facts.owners.get(key_of(data))
    said = Owner(data.worker, data.provider, data.model)
    return Misfit(Reason.CHANGED) if known is not None and known != said else None


def _of_upstream(data: UsageData, sender: UsageSender, placement: Placement, facts: Facts) -> Misfit | None:
    if set(data.meters) & MEDIA_METERS:
        return Misfit(Reason.WRONG_METER)
    owner = facts.owners.get(key_of(data))
    if owner is None:
        return Misfit(Reason.UNCLAIMED, may_fit=True)
    if owner.worker != sender.process:
        return Misfit(Reason.WRONG_PRODUCER)
    if owner.provider != data.provider:
        return Misfit(Reason.WRONG_PROVIDER)
    # Transcription is another model of the same provider, and the client chooses it.
    model = placement.model or owner.model
    wrong = data.model != model and not set(data.meters) <= TRANSCRIBE_METERS
    return Misfit(Reason.WRONG_MODEL) if wrong else None
