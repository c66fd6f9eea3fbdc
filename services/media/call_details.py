"""The properties of a call that its records are made of."""

from dataclasses import dataclass

from services.contracts.call_history import CallEnded, CallStarted
from services.contracts.endings import EndReason
from services.contracts.ids import NO_KEY, CallId, KeyId, ProcessId, TenantId
from services.contracts.messages import ClaimGranted
from services.runtime import clock


@dataclass(frozen=True, slots=True)
class CallDetails:
    """Properties of a call that do not change while it lasts."""

    id: CallId
    tenant: TenantId
    process: ProcessId
    owner: ClaimGranted
    started_unix_ms: int
    offered_at: float
    """When the offer came, in monotonic seconds."""
    key: KeyId = NO_KEY
    """The tenant key of the call, or of its token."""

    def started(self) -> CallStarted:
        """Return the record of the call's start, for `CallRecords`."""
        return CallStarted(
            call=self.id,
            tenant=self.tenant,
            process=self.process,
            provider=self.owner.provider,
            model=self.owner.model,
            started_unix_ms=self.started_unix_ms,
        )

    def ended(self, reason: EndReason) -> CallEnded:
        """Return the record of the call's end, for `CallRecords`."""
        started = self.started().model_dump(exclude={"type"})
        return CallEnded(**started, reason=reason, ended_unix_ms=clock.unix_ms())
