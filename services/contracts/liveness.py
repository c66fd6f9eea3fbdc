"""Keepalive between media and worker: its interval, and the timeouts of a call without it (ADR 12)."""

from dataclasses import dataclass
from typing import Literal

ALIVE_S = 1.0
"""ALIVE is sent after so long without another frame."""
SILENT_S = 5.0
"""The other side is gone after so long without a frame while our own bus connection was up."""
BUS_AWAY_S = 60.0
"""How long a call waits for the bus: enough to restart its server on another machine. Callers may hang up before."""

Gone = Literal["silent", "bus_away"]


@dataclass(slots=True)
class Liveness:
    """When the other side was last active, in monotonic seconds. Time without our own bus connection does not count."""

    active_at: float
    _away_since: float | None = None

    def record_activity(self, *, now: float) -> None:
        """Record that the other side is alive as of ``now``."""
        self.active_at = now

    def gone(self, *, bus: bool, now: float) -> Gone | None:
        """Return why the call must end, or None. ``bus``: whether ours is connected. Call it several times a second."""
        if bus:
            if self._away_since is not None:
                self._away_since = None
                self.active_at = now  # the other side may have to reconnect, too
            return "silent" if now - self.active_at >= SILENT_S else None
        if self._away_since is None:
            self._away_since = now
        return "bus_away" if now - self._away_since >= BUS_AWAY_S else None
