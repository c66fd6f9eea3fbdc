"""Every NATS subject, stream and bucket."""

from services.contracts.ids import CallId, ProcessId, TenantId, WorkerId

MEDIA_HEARTBEAT = "hg.media.heartbeat"
"""Media -> signaling, once a second."""

CLAIM = "hg.claim"
"""Media -> one upstream worker of the queue group."""
UPSTREAM_QUEUE = "upstream"

CALL_STARTED = "hg.calls.started"
CALL_ENDED = "hg.calls.ended"

USAGE_STREAM = "USAGE"
USAGE_SUBJECTS = "hg.usage.*"
CALLS_STREAM = "CALLS"
CALLS_SUBJECTS = "hg.calls.*"

GRANTS_BUCKET = "grants"
ACCESS_BUCKET = "access"
LEASES_BUCKET = "leases"


def offer(process: ProcessId) -> str:
    """Signaling -> one media process: a request that is answered with SDP or a refusal."""
    return f"hg.media.{process}.offer"


def up(worker: WorkerId, call: CallId) -> str:
    """Frames, media -> the worker that owns the call. Core NATS: late audio is worthless."""
    return f"hg.up.{worker}.{call}"


def up_of(worker: WorkerId) -> str:
    """All frames for one worker."""
    return f"hg.up.{worker}.*"


def down(process: ProcessId, call: CallId) -> str:
    """Frames, worker -> the media process that carries the call."""
    return f"hg.down.{process}.{call}"


def down_of(process: ProcessId) -> str:
    """All frames for one media process."""
    return f"hg.down.{process}.*"


def control(call: CallId) -> str:
    """Signaling -> the media process of a call: hang-up and what a sideband socket says."""
    return f"hg.call.{call}.control"


def usage(tenant: TenantId) -> str:
    """Usage events of a tenant; JetStream `USAGE`."""
    return f"hg.usage.{tenant}"


def watermark(source: str) -> str:
    """Metering -> the outbox ``source``: everything up to this sequence is in the ledger."""
    return f"hg.watermark.{source}"


def call_of(subject: str) -> CallId:
    """The last token of a frame's subject; a subject that we subscribed to by wildcard has one."""
    return CallId(subject.rpartition(".")[2])
