"""One timer for all calls of a process: calls the frame handler of each every 20 ms, spread over that period."""

import asyncio
from typing import Protocol

from services.callers.core.clip import FRAME_S
from services.callers.core.histogram import Histogram
from services.runtime import clock

_SLOTS = 10
_SLOT_S = FRAME_S / _SLOTS
_MAX_LATE_S = 0.1  # after a stall it skips ahead: a microphone does not burst


class Paced(Protocol):
    """Sends a frame every 20 ms."""

    def on_frame_due(self, frame: int, now: float) -> None:
        """Send frame number ``frame``. Numbers may be skipped after a stall."""


class Pacer:
    """Starts with the first member. ``lateness``: how late the last packet of each slot was sent, in ms."""

    def __init__(self, lateness: Histogram) -> None:
        self._lateness = lateness
        self._slots: list[list[Paced]] = [[] for _ in range(_SLOTS)]
        self._loop = asyncio.get_running_loop()
        self._began = clock.monotonic()
        self._frame, self._slot = 0, 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Paced) -> None:
        """Call ``member`` every 20 ms, in the slot with the fewest members."""
        min(self._slots, key=len).append(member)
        if self._timer is None:
            self._skip(clock.monotonic())
            self._run()

    def remove(self, member: Paced) -> None:
        """Stop calling ``member``; no error if it was never added."""
        for slot in self._slots:
            if member in slot:
                slot.remove(member)

    def close(self) -> None:
        """Stop calling all members."""
        self._slots = [[] for _ in range(_SLOTS)]
        if self._timer:
            self._timer.cancel()

    def _run(self) -> None:
        now = clock.monotonic()
        if now - self._due > _MAX_LATE_S:
            self._skip(now)
        while (due := self._due) <= now:
            for member in tuple(self._slots[self._slot]):
                member.on_frame_due(self._frame, now)
            now = clock.monotonic()
            if self._slots[self._slot]:
                self._lateness.add((now - due) * 1000)
            self._advance()
        self._timer = self._loop.call_at(due, self._run)

    @property
    def _due(self) -> float:
        return self._began + self._frame * FRAME_S + self._slot * _SLOT_S

    def _skip(self, now: float) -> None:
        self._frame = int((now - self._began) / FRAME_S)

    def _advance(self) -> None:
        """Advance to the next slot with members; an empty one needs no wake-up."""
        for _ in range(_SLOTS):
            self._slot += 1
            if self._slot == _SLOTS:
                self._slot = 0
                self._frame += 1
            if self._slots[self._slot]:
                return
