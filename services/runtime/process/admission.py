"""How many calls a process accepts, and how it waits for them when it drains."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from services.contracts.ids import CallId
from services.runtime.telemetry.logging import get_logger


class Admission:
    """Capacity of one process: one place per leg or session.

    To admit, check `refusal` first, then `reserve`, and call `begin` within that block.
    A place is held until `end`; a drain also waits until `settle` was called for it.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.draining = False
        self.active = 0
        """Places in use."""
        self._reserved: set[CallId] = set()
        self._unsettled = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def reserved(self) -> int:
        """Places reserved by calls that are being set up."""
        return len(self._reserved)

    def refusal(self) -> Literal["draining", "full"] | None:
        """Why nothing more is accepted now; None when there is a place."""
        if self.draining:
            return "draining"
        return "full" if self.active + self.reserved >= self.capacity else None

    def is_reserved(self, call: CallId) -> bool:
        """Whether the call is being set up."""
        return call in self._reserved

    @contextmanager
    def reserve(self, call: CallId) -> Iterator[None]:
        """Reserve a place while the call is being set up."""
        self._reserved.add(call)
        self._update()
        try:
            yield
        finally:
            self._reserved.discard(call)
            self._update()

    def begin(self) -> None:
        """Take a place until `end`."""
        self.active += 1
        self._unsettled += 1
        self._update()

    def end(self) -> None:
        """Release the place; the drain still waits for `settle`."""
        self.active -= 1

    def settle(self) -> None:
        """Record that the usage of an ended call or session is written."""
        self._unsettled -= 1
        self._update()

    async def drain(self, *, timeout_s: float, end_calls: Callable[[], None]) -> None:
        """Accept nothing more and wait until all is settled; after ``timeout_s`` call ``end_calls`` and wait again."""
        self.draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            get_logger().warning("drain_timed_out", calls=self.active)
            end_calls()
            await self._empty.wait()

    def _update(self) -> None:
        (self._empty.clear if self._unsettled or self._reserved else self._empty.set)()
