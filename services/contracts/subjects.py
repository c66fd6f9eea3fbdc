"""Every NATS subject, stream and bucket.

A subject names the process that may publish on it, so that the server can hold each to its own
(services/contracts/permissions.py, docs/adr/0017-an-identity-for-each-process.md).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from services.contracts.ids import CallId, ProcessId, TenantId, WorkerId

Role = Literal["signaling", "media", "upstream", "metering"]
"""Who is on the bus."""
UsageRole = Literal["media", "upstream"]
"""Who uses something that is metered."""

HEARTBEATS = "hg.media.*.heartbeat"
CLAIMS = "hg.claim.*"
UPSTREAM_QUEUE = "upstream"

USAGE_STREAM = "USAGE"
USAGE_SUBJECTS = "hg.usage.>"
CALLS_STREAM = "CALLS"
CALLS_SUBJECTS = "hg.calls.>"
PLACED_STREAM = "PLACED"
PLACED = "hg.placed"
"""Signaling -> metering, before a media process is asked: whose call it is, and which process may carry it."""

GRANTS_BUCKET = "grants"
ACCESS_BUCKET = "access"
LEASES_BUCKET = "leases"


@dataclass(frozen=True, slots=True)
class UsageSender:
    """Who published usage, and for which tenant: what the server let it write."""

    role: UsageRole
    process: str
    tenant: str


def heartbeat(process: ProcessId) -> str:
    """Media -> signaling, once a second."""
    return f"hg.media.{process}.heartbeat"


def offer(process: ProcessId) -> str:
    """Signaling -> one media process: a request that is answered with SDP or a refusal."""
    return f"hg.media.{process}.offer"


def claim(process: ProcessId) -> str:
    """One media process -> one upstream worker of the queue group."""
    return f"hg.claim.{process}"


def up(worker: WorkerId, process: ProcessId, call: CallId) -> str:
    """Frames, the media process of a call -> the worker that owns it. Core NATS: late audio is worthless."""
    return f"hg.up.{worker}.{process}.{call}"


def up_of(worker: WorkerId) -> str:
    """All frames for one worker."""
    return f"hg.up.{worker}.*.*"


def down(process: ProcessId, worker: WorkerId, call: CallId) -> str:
    """Frames, the worker that owns a call -> the media process that carries it."""
    return f"hg.down.{process}.{worker}.{call}"


def down_of(process: ProcessId) -> str:
    """All frames for one media process."""
    return f"hg.down.{process}.*.*"


def control(process: ProcessId, call: CallId) -> str:
    """Signaling -> the media process of a call: hang-up and what a sideband socket says."""
    return f"hg.call.{process}.{call}.control"


def call_started(process: ProcessId) -> str:
    """A call was answered; JetStream `CALLS`."""
    return f"hg.calls.{process}.started"


def call_ended(process: ProcessId) -> str:
    """A call is over; JetStream `CALLS`."""
    return f"hg.calls.{process}.ended"


def usage(role: UsageRole, process: str, tenant: TenantId) -> str:
    """Usage events of a process for a tenant; JetStream `USAGE`."""
    return f"hg.usage.{role}.{process}.{tenant}"


def usage_sender(subject: str) -> UsageSender | None:
    """Who published on ``subject``; None: no process that may."""
    match subject.split("."):
        case ["hg", "usage", role, process, tenant] if role in get_args(UsageRole):
            return UsageSender("media" if role == "media" else "upstream", process, tenant)
    return None


def watermark(process: str, source: str) -> str:
    """Metering -> the outbox ``source`` of a process: everything up to this sequence is in the ledger."""
    return f"hg.watermark.{process}.{source}"


def call_of(subject: str) -> CallId:
    """The last token of a frame's subject; a subject that we subscribed to by wildcard has one."""
    return CallId(subject.rpartition(".")[2])


def process_of(subject: str) -> ProcessId:
    """The process that a heartbeat, a claim or a record of a call names as its publisher: the third token."""
    return ProcessId(subject.split(".", 3)[2])
