"""The events that a call received, each with the time of its arrival."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from services.callers.errors import CallEndedError, NothingCameError
from services.runtime import clock

Event = dict[str, Any]
"""One server event as JSON: its fields are the wire's."""


@dataclass(frozen=True, slots=True)
class Received:
    """An event and when it came, in monotonic seconds."""

    at_s: float
    event: Event

    @property
    def type(self) -> str:
        """The event's type, empty when it has none."""
        return str(self.event.get("type", ""))


@dataclass(slots=True)
class EventLog:
    """Keeps all events of a call and lets tests wait for the next of a type."""

    all: list[Received] = field(default_factory=list)
    _taken: Counter[str] = field(default_factory=Counter)
    """By type: how many of it were given out or skipped."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def add(self, event: Event) -> None:
        """Note an event that has just come."""
        self.all.append(Received(clock.monotonic(), event))
        self._tell()

    def close(self) -> None:
        """No more will come: everybody who waits is told."""
        self._closed = True
        self._tell()

    def of(self, *types: str) -> list[Received]:
        """All events of these types so far, in order."""
        return [received for received in self.all if received.type in types]

    def skip(self) -> None:
        """What has come so far no longer counts for `next`."""
        self._taken = Counter(received.type for received in self.all)

    async def next(self, event_type: str, *, timeout_s: float) -> Received:
        """The first event of the type that was not given out yet; waits for it.

        Raises:
            NothingCameError: none came in time.
            CallEndedError: the call ended first.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (found := self._untaken(event_type)) is None:
                    if self._closed:
                        raise CallEndedError(event_type)
                    await self._news.wait()
        except TimeoutError:
            raise NothingCameError(event_type, timeout_s) from None
        self._taken[event_type] += 1
        return found

    def _untaken(self, event_type: str) -> Received | None:
        known = self.of(event_type)
        taken = self._taken[event_type]
        return known[taken] if taken < len(known) else None

    def _tell(self) -> None:
        # Everybody who waits now is woken; who waits later waits for the next one.
        self._news.set()
        self._news = asyncio.Event()
