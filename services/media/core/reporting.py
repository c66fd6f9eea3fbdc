"""When RTCP reports are due (RFC 3550 §6.2 and A.7)."""

from collections.abc import Callable

INTERVAL_S = 5.0
FIRST_S = 1.0
"""Soon, so that the round trip is known before the first answer is cut."""
IDLE_FACTOR = 3
"""Nothing came and nothing went since the last report: there is little to say."""


class ReportClock:
    """Says when to report. ``random`` gives numbers from 0 to 1: reports of many peers must not fall into step."""

    def __init__(self, *, now: float, random: Callable[[], float]) -> None:
        self._random = random
        self.due = now + self._spread(FIRST_S)

    def reported(self, *, busy: bool, now: float) -> None:
        """A report went out. ``busy``: it had something new to say."""
        self.due = now + self._spread(INTERVAL_S if busy else INTERVAL_S * IDLE_FACTOR)

    def _spread(self, interval_s: float) -> float:
        return interval_s * (0.5 + self._random())
