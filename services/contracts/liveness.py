"""Media and worker tell each other that they are there; how often, and how long a call goes on without (ADR 12)."""

from dataclasses import dataclass
from typing import Literal

ALIVE_S = 1.0
"""After so long of nothing else a sign of life is sent."""
SILENT_S = 5.0
"""Of so much silence, with one's own bus there all the time, the other side is gone."""
BUS_AWAY_S = 60.0
"""So long a call waits for the bus: time enough to start its server on another machine. Callers may hang up before."""

Gone = Literal["silent", "bus_away"]


@dataclass(slots=True)
class Liveness:
    """When the other side was heard, in monotonic seconds. Silence while one's own bus is away says nothing of it."""

    heard_at: float
    _away_since: float | None = None

    def heard(self, *, now: float) -> None:
        """It said something."""
        self.heard_at = now

    def gone(self, *, bus: bool, now: float) -> Gone | None:
        """Why to wait no longer, if so; ``bus``: whether ours is there. Ask often: it learns of the bus by this."""
        if bus:
            if self._away_since is not None:
                self._away_since = None
                self.heard_at = now  # whoever was away needs time, too
            return "silent" if now - self.heard_at >= SILENT_S else None
        if self._away_since is None:
            self._away_since = now
        return "bus_away" if now - self._away_since >= BUS_AWAY_S else None
