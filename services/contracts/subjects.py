"""All NATS subjects, streams and buckets.

A subject names the process that may publish on it, so that the server can restrict each to its own
(services/contracts/permissions.py, docs/adr/0017-an-identity-for-each-process.md).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from services.contracts.ids import CallId, ProcessId, TenantId, WorkerId

ServiceRole = Literal["signaling", "media", "upstream", "metering"]
"""The services on the bus."""
UsageRole = Literal["media", "upstream"]
"""The services that report usage."""

HEARTBEATS = "hg.media.*.heartbeat"
KEY_CHECKS = "hg.media.*.keys"
CLAIMS = "hg.claim.*"
UPSTREAM_QUEUE = "upstream"

USAGE_STREAM = "USAGE"
USAGE_SUBJECTS = "hg.usage.>"
CALLS_STREAM = "CALLS"
CALLS_SUBJECTS = "hg.calls.>"
PLACED_STREAM = "PLACED"
PLACED = "hg.placed"
"""Signaling -> metering, before a call is offered to a media process: the call's tenant, and that process."""

GRANTS_BUCKET = "grants"
ACCESS_BUCKET = "access"
LEASES_BUCKET = "leases"
RATES_BUCKET = "rates"


@dataclass(frozen=True, slots=True)
class UsageSender:
    """The publisher of usage and its tenant, as the server's permissions enforce them."""

    role: UsageRole
    process: str
    tenant: str


def heartbeat(process: ProcessId) -> str:
    """Return the subject of heartbeats: media -> signaling, once a second."""
    return f"hg.media.{process}.heartbeat"


def offer(process: ProcessId) -> str:
    """Return the subject of offers: signaling -> one media process, replied to with an answer or a refusal."""
    return f"hg.media.{process}.offer"


def key_check(process: ProcessId) -> str:
    """Return the subject of questions about the keys of live calls: media -> all signaling processes."""
    return f"hg.media.{process}.keys"


def keys_checked(process: ProcessId) -> str:
    """Return the subject of the answers to those: each signaling process -> the media process that asked."""
    return f"hg.media.{process}.keys_checked"


def claim(process: ProcessId) -> str:
    """Return the subject of claims: one media process -> one upstream worker of the queue group."""
    return f"hg.claim.{process}"


def up(worker: WorkerId, process: ProcessId, call: CallId) -> str:
    """Return the subject of a call's frames, media process -> owning worker. Core NATS: late audio is worthless."""
    return f"hg.up.{worker}.{process}.{call}"


def up_of(worker: WorkerId) -> str:
    """Return the wildcard subject of all frames for one worker."""
    return f"hg.up.{worker}.*.*"


def down(process: ProcessId, worker: WorkerId, call: CallId) -> str:
    """Return the subject of a call's frames, owning worker -> media process."""
    return f"hg.down.{process}.{worker}.{call}"


def down_of(process: ProcessId) -> str:
    """Return the wildcard subject of all frames for one media process."""
    return f"hg.down.{process}.*.*"


def control(process: ProcessId, call: CallId) -> str:
    """Return the subject of control messages of a call: signaling -> its media process."""
    return f"hg.call.{process}.{call}.control"


def call_started(process: ProcessId) -> str:
    """Return the subject of `CallStarted` records; JetStream `CALLS`."""
    return f"hg.calls.{process}.started"


def call_ended(process: ProcessId) -> str:
    """Return the subject of `CallEnded` records; JetStream `CALLS`."""
    return f"hg.calls.{process}.ended"


def usage(role: UsageRole, process: str, tenant: TenantId) -> str:
    """Return the subject of a process's usage events for a tenant; JetStream `USAGE`."""
    return f"hg.usage.{role}.{process}.{tenant}"


def usage_sender(subject: str) -> UsageSender | None:
    """Return who published on ``subject``; None if it is not a subject of usage events."""
    match subject.split("."):
        case ["hg", "usage", role, process, tenant] if role in get_args(UsageRole):
            return UsageSender("media" if role == "media" else "upstream", process, tenant)
    return None


def watermark(process: str, source: str) -> str:
    """Return the subject of `Watermark`: metering -> the outbox ``source`` of a process."""
    return f"hg.watermark.{process}.{source}"


def call_of(subject: str) -> CallId:
    """Return the last token of a frame's subject, as received by a wildcard subscription."""
    return CallId(subject.rpartition(".")[2])


def process_of(subject: str) -> ProcessId:
    """Return the publisher of a heartbeat, a claim, a key check or a record of a call: the third token."""
    return ProcessId(subject.split(".", 3)[2])
