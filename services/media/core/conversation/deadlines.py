"""The timeouts of a call: set-up, maximum duration, a silent worker, our own keepalive."""

from dataclasses import dataclass, field

from services.contracts.endings import EndReason
from services.contracts.liveness import ALIVE_S, Gone, Liveness

SETUP_S = 10.0
_GONE: dict[Gone, EndReason] = {"silent": EndReason.PROVIDER_ERROR, "bus_away": EndReason.INTERNAL}


@dataclass(slots=True)
class Deadlines:
    """The timeouts of one call. ``now`` is monotonic seconds; ``started_at``: when the offer was answered."""

    started_at: float
    max_seconds: int
    connected: bool = False
    _worker: Liveness = field(init=False)
    _sent_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._worker = Liveness(self.started_at)

    @property
    def set_up_by(self) -> float:
        """When a leg must be connected."""
        return self.started_at + SETUP_S

    def worker_frame_received(self, *, now: float) -> None:
        """Record a frame of the owning worker, received at ``now``."""
        self._worker.record_activity(now=now)

    def frame_sent(self, *, now: float) -> None:
        """Record a frame sent to the worker at ``now``."""
        self._sent_at = now

    def alive_due(self, *, now: float) -> bool:
        """Whether nothing was sent to the worker for a second, so that ALIVE is due."""
        return now - self._sent_at >= ALIVE_S

    def end_reason(self, *, bus: bool, now: float) -> EndReason | None:
        """Return why the call must end now, or None; ``bus``: whether the bus is connected."""
        if now - self.started_at >= self.max_seconds:
            return EndReason.MAX_SECONDS
        if not self.connected and now >= self.set_up_by:
            return EndReason.SETUP_TIMEOUT
        gone = self._worker.gone(bus=bus, now=now)
        return _GONE[gone] if gone else None
