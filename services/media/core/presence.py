"""Is the client still there? Judged by authenticated packets alone: sound, reports, checks."""

from dataclasses import dataclass
from typing import Literal

How = Literal["packets", "address", "restart"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A lost client is back: its packets came again, from another address, or after an ICE restart."""

    how: How
    away_s: float


@dataclass(slots=True)
class Presence:
    """One leg's. ``lost_s``: so long silent it is lost and may come back; ``gone_s``: it will not. In seconds."""

    lost_s: float
    gone_s: float
    heard_at: float
    lost: bool = False
    _how: How = "packets"

    def moved(self, how: How) -> None:
        """The path changes: if the client comes back, this is how."""
        if self._how != "restart":
            self._how = how

    def heard(self, *, now: float) -> Recovered | None:
        """Something authentic came."""
        away_s, self.heard_at = now - self.heard_at, now
        if not self.lost:
            return None
        self.lost = False
        how, self._how = self._how, "packets"
        return Recovered(how, away_s)

    def tick(self, *, now: float) -> Literal["lost", "gone"] | None:
        """Time passes; says once that the client is lost, and from then on that it is gone."""
        silent_s = now - self.heard_at
        if silent_s >= self.gone_s:
            return "gone"
        if not self.lost and silent_s >= self.lost_s:
            self.lost = True
            return "lost"
        if not self.lost:
            self._how = "packets"  # what moved while it was heard is forgotten
        return None
