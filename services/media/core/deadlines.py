"""The clocks of a call: set-up, longest duration, a silent worker, our own sign of life."""

from dataclasses import dataclass

from services.contracts.endings import EndReason

ALIVE_S = 1.0
WORKER_SILENT_S = 5.0
SETUP_S = 10.0


@dataclass(slots=True)
class Deadlines:
    """``now`` is monotonic seconds; ``started_at`` is the answer to the offer."""

    started_at: float
    max_seconds: int
    connected: bool = False
    _heard_at: float = 0.0
    _sent_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._heard_at = self.started_at

    def heard_worker(self, *, now: float) -> None:
        """A frame of the owning worker came."""
        self._heard_at = now

    def sent(self, *, now: float) -> None:
        """A frame went up."""
        self._sent_at = now

    def alive_due(self, *, now: float) -> bool:
        """Nothing went up for a second."""
        return now - self._sent_at >= ALIVE_S

    def over(self, *, now: float) -> EndReason | None:
        """Why the call must end now, if it must."""
        if now - self.started_at >= self.max_seconds:
            return EndReason.MAX_SECONDS
        if not self.connected and now - self.started_at >= SETUP_S:
            return EndReason.SETUP_TIMEOUT
        if now - self._heard_at >= WORKER_SILENT_S:
            return EndReason.PROVIDER_ERROR
        return None
