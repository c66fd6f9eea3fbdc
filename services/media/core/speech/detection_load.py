"""Whether the speech detector takes more time than a process has for it."""

from collections import deque
from typing import Final

WINDOW_S: Final = 1.0
"""Time over which the detector's share is measured."""
MOST_SHARE: Final = 0.6
"""Of the window that the detector may take."""
LONG_S: Final = 0.02
"""A batch that takes this long delays every frame of the process by a frame."""
MOST_LONG: Final = 5
"""Such batches within the window that are one time too many to be chance."""
RELIEF_S: Final = 5.0
"""How long the detector then works at less cost, before it is tried in full again."""


class DetectionLoad:
    """The time that batches took lately."""

    def __init__(self) -> None:
        self._batches: deque[tuple[float, float]] = deque()  # when they ended, and what they took
        self._took_s = 0.0
        self._long = 0
        self._relieved_until = -1.0
        self._began: float | None = None

    def is_behind(self, *, now: float) -> bool:
        """Whether the detector must work at less cost as of ``now``."""
        return now < self._relieved_until

    def measured(self, took_s: float, *, now: float) -> bool:
        """Count a batch in full that ended at ``now``; return whether the detector has fallen behind with it."""
        if self._began is None:
            self._began = now - took_s
        self._batches.append((now, took_s))
        self._took_s += took_s
        self._long += took_s >= LONG_S
        while self._batches[0][0] <= now - WINDOW_S:
            _, gone_s = self._batches.popleft()
            self._took_s -= gone_s
            self._long -= gone_s >= LONG_S
        whole = now - self._began >= WINDOW_S
        if not ((whole and self._took_s > MOST_SHARE * WINDOW_S) or self._long >= MOST_LONG):
            return False
        self._relieved_until = now + RELIEF_S
        self._batches.clear()
        self._took_s, self._long, self._began = 0.0, 0, None
        return True
