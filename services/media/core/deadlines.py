"""The clocks of a call: set-up, longest duration, a silent worker, our own sign of life."""

from dataclasses import dataclass, field

from services.contracts.endings import EndReason
from services.contracts.liveness import ALIVE_S, Gone, Liveness

SETUP_S = 10.0
_GONE: dict[Gone, EndReason] = {"silent": EndReason.PROVIDER_ERROR, "bus_away": EndReason.INTERNAL}


@dataclass(slots=True)
class Deadlines:
    """``now`` is monotonic seconds; ``started_at`` is the answer to the offer."""

    started_at: float
    max_seconds: int
    connected: bool = False
    _worker: Liveness = field(init=False)
    _sent_at: float = float("-inf")

    def __post_init__(self) -> None:
        self._worker = Liveness(self.started_at)

    def heard_worker(self, *, now: float) -> None:
        """A frame of the owning worker came."""
        self._worker.heard(now=now)

    def sent(self, *, now: float) -> None:
        """A frame went up."""
        self._sent_at = now

    def alive_due(self, *, now: float) -> bool:
        """Nothing went up for a second."""
        return now - self._sent_at >= ALIVE_S

    def over(self, *, bus: bool, now: float) -> EndReason | None:
        """Why the call must end now, if it must; ``bus``: whether the bus is there."""
        if now - self.started_at >= self.max_seconds:
            return EndReason.MAX_SECONDS
        if not self.connected and now - self.started_at >= SETUP_S:
            return EndReason.SETUP_TIMEOUT
        gone = self._worker.gone(bus=bus, now=now)
        return _GONE[gone] if gone else None
