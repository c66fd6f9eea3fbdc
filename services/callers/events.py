"""The server events of a call, each with its arrival time."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from services.callers.errors import CallEndedError, WaitTimeoutError
from services.runtime import clock

ServerEvent = dict[str, Any]
"""One server event as JSON, with the API's fields."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event and its arrival, in monotonic seconds."""

    at_s: float
    event: ServerEvent

    @property
    def type(self) -> str:
        """The event's type, empty if it has none."""
        return str(self.event.get("type", ""))


@dataclass(slots=True)
class EventLog:
    """Records all events of a call and waits for the next of a type."""

    all: list[ReceivedEvent] = field(default_factory=list)
    _taken: Counter[str] = field(default_factory=Counter)
    """By type: how many were returned or skipped."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def add(self, event: ServerEvent) -> None:
        """Record an event that has just arrived."""
        self.all.append(ReceivedEvent(clock.monotonic(), event))
        self._wake_waiters()

    def close(self) -> None:
        """End the log; everybody who waits gets `CallEndedError`."""
        self._closed = True
        self._wake_waiters()

    def of(self, *types: str) -> list[ReceivedEvent]:
        """All events of ``types`` so far, in order."""
        return [received for received in self.all if received.type in types]

    def skip(self) -> None:
        """Skip the events so far: `next` no longer returns them."""
        self._taken = Counter(received.type for received in self.all)

    async def next(self, event_type: str, *, timeout_s: float) -> ReceivedEvent:
        """Wait for the first event of the type that was not returned yet.

        Raises:
            WaitTimeoutError: none arrived in time.
            CallEndedError: the call ended first.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (found := self._next_unread(event_type)) is None:
                    if self._closed:
                        raise CallEndedError(event_type)
                    await self._news.wait()
        except TimeoutError:
            raise WaitTimeoutError(event_type, timeout_s) from None
        self._taken[event_type] += 1
        return found

    def _next_unread(self, event_type: str) -> ReceivedEvent | None:
        known = self.of(event_type)
        taken = self._taken[event_type]
        return known[taken] if taken < len(known) else None

    def _wake_waiters(self) -> None:
        # Everybody who waits now is woken; later waiters wait for the next event.
        self._news.set()
        self._news = asyncio.Event()
