"""When RTCP reports are due (RFC 3550 §6.2 and A.7)."""

from collections.abc import Callable

INTERVAL_S = 5.0
FIRST_S = 1.0
"""Short, so that the round trip is known before the first barge-in."""
IDLE_FACTOR = 3
"""If nothing was sent or received since the last report."""


class ReportClock:
    """Schedules reports. ``random`` returns numbers from 0 to 1, so that reports of many peers do not synchronise."""

    def __init__(self, *, now: float, random: Callable[[], float]) -> None:
        self._random = random
        self.due = now + self._spread(FIRST_S)

    def reported(self, *, busy: bool, now: float) -> None:
        """Schedule the next report after one was sent. ``busy``: packets were sent or received since the last."""
        self.due = now + self._spread(INTERVAL_S if busy else INTERVAL_S * IDLE_FACTOR)

    def _spread(self, interval_s: float) -> float:
        return interval_s * (0.5 + self._random())
