"""Whether a client is reachable, by its authenticated packets: audio, RTCP, ICE checks."""

from dataclasses import dataclass
from typing import Literal

How = Literal["packets", "address", "restart"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A lost client recovered: its packets resumed, from another address, or after an ICE restart."""

    how: How
    away_s: float


@dataclass(slots=True)
class Presence:
    """One client's presence. ``lost_s``, ``gone_s``: seconds without a packet after which it is lost, and gone."""

    lost_s: float
    gone_s: float
    received_at: float
    lost: bool = False
    _how: How = "packets"

    def path_changed(self, how: How) -> None:
        """Record that the selected path changed; a later recovery is reported as ``how``."""
        if self._how != "restart":
            self._how = how

    def packet_received(self, *, now: float) -> Recovered | None:
        """Record an authenticated packet; return the recovery if the client was lost."""
        away_s, self.received_at = now - self.received_at, now
        if not self.lost:
            return None
        self.lost = False
        how, self._how = self._how, "packets"
        return Recovered(how, away_s)

    def on_timer(self, *, now: float) -> Literal["lost", "gone"] | None:
        """Return "lost" once when the client becomes lost, "gone" from when it is gone, else None."""
        silent_s = now - self.received_at
        if silent_s >= self.gone_s:
            return "gone"
        if not self.lost and silent_s >= self.lost_s:
            self.lost = True
            return "lost"
        if not self.lost:
            self._how = "packets"  # path changes before the loss do not count
        return None
