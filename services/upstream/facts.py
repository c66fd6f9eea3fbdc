"""What does not change while a worker owns a call."""

from dataclasses import dataclass

from services.contracts.ids import CallId, ProcessId, SessionId, TenantId, WorkerId


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A call as this worker knows it."""

    id: CallId
    session: SessionId
    tenant: TenantId
    process: ProcessId
    worker: WorkerId
    provider: str
    model: str
