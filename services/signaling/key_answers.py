"""Answers media which tenants and keys of its live calls are in this process's tenants file."""

from dataclasses import dataclass

from services.contracts import ids, messages, subjects
from services.contracts.ids import InvalidIdError
from services.contracts.messages import KeyCheck, MalformedMessageError
from services.runtime.bus.client import Bus
from services.runtime.telemetry import metrics as bus_metrics
from services.runtime.telemetry.logging import get_logger
from services.signaling.tenants_file import TenantsFile


@dataclass(frozen=True, slots=True)
class KeyAnswers:
    """Answers the questions of all media processes."""

    bus: Bus
    tenants: TenantsFile

    async def subscribe(self) -> None:
        """Subscribe to the questions."""
        await self.bus.subscribe(subjects.KEY_CHECKS, self._on_check)

    def _on_check(self, subject: str, data: bytes) -> None:
        try:
            check = messages.expect(KeyCheck, data)
            process = ids.process_id(subjects.process_of(subject))
        except (MalformedMessageError, InvalidIdError) as exc:
            bus_metrics.BUS_DROPPED.labels("malformed").inc()
            get_logger().warning("key_check_malformed", error=str(exc))
            return
        self.bus.post(subjects.keys_checked(process), self.tenants.current().check(check.keys).encode())
