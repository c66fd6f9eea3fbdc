"""The identifiers of a call that a worker owns."""

from dataclasses import dataclass

from services.contracts.ids import CallId, ProcessId, SessionId, TenantId, WorkerId


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """Who and what a call belongs to; fixed for the epoch."""

    id: CallId
    session: SessionId
    tenant: TenantId
    process: ProcessId
    worker: WorkerId
    provider: str
    model: str
