"""A queue of items with arrival times."""

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class InFlight(Generic[T]):
    """Returns items in the order of arrival, those of equal time in the order in which they were added."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, T]] = []
        self._serial = 0

    def add(self, thing: T, *, at: float) -> None:
        """Add ``thing``, which arrives at ``at`` seconds."""
        self._serial += 1
        heappush(self._queue, (at, self._serial, thing))

    def arrived(self, *, now: float) -> list[T]:
        """Remove and return what has arrived by ``now``."""
        found: list[T] = []
        while self._queue and self._queue[0][0] <= now:
            found.append(heappop(self._queue)[2])
        return found

    @property
    def next_at(self) -> float | None:
        """When the next one arrives; None when the queue is empty."""
        return self._queue[0][0] if self._queue else None
