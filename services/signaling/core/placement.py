"""Placement: the less loaded of two random media processes of this zone with fresh heartbeats and free capacity."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from services.contracts.ids import ProcessId
from services.contracts.messages import Heartbeat
from services.contracts.turn_detection import TurnTerms, strictest

FRESH_S = 5.0
"""Age of the last heartbeat, in seconds, from which a process counts as failed: five missed heartbeats."""
MAX_LOAD = 0.7
"""Calls / capacity up to which a process gets more calls: the rest is headroom for bursts of set-ups and speech."""
MAX_LOOP_LAG_MS = 100.0
"""Event-loop delay above which audio of a process is already late (five frames): any other is preferred."""
MAX_ATTEMPTS = 3
_REMOVE_AFTER_S = 60.0


class RandomSource(Protocol):
    """Source of randomness, e.g. `random.Random`."""

    def sample(self, population: Sequence[ProcessId], count: int, /) -> list[ProcessId]:
        """Return ``count`` different elements."""
        ...


class NoPlacement(StrEnum):
    """Why no media process is eligible."""

    NONE_KNOWN = "no_media_process"
    ALL_SILENT = "media_silent"
    ALL_DRAINING = "media_draining"
    ALL_FULL = "media_full"
    ALL_TRIED = "media_tried"


@dataclass(slots=True)
class _Entry:
    heartbeat: Heartbeat
    received_at: float
    placed_since: int = 0

    @property
    def load(self) -> float:
        # The heartbeat does not count calls placed since it was sent; a burst within one second must spread, too.
        busy = self.heartbeat.active + self.heartbeat.reserved + self.placed_since
        return busy / self.heartbeat.capacity

    @property
    def rank(self) -> tuple[bool, float]:
        return self.heartbeat.loop_lag_ms > MAX_LOOP_LAG_MS, self.load


@dataclass(slots=True)
class Placement:
    """Media processes by their heartbeats. ``zone``: preferred for calls while it has capacity; empty: any zone."""

    zone: str = ""
    _entries: dict[ProcessId, _Entry] = field(default_factory=dict)

    def on_heartbeat(self, heartbeat: Heartbeat, *, now: float) -> bool:
        """Record a heartbeat and remove processes that have sent none for a minute.

        Returns:
            Whether the process is new, or its version, zone or address changed.
        """
        before = self._entries.get(heartbeat.process)
        self._entries[heartbeat.process] = _Entry(heartbeat, now)
        for process in [p for p, entry in self._entries.items() if now - entry.received_at > _REMOVE_AFTER_S]:
            del self._entries[process]
        return before is None or _version_and_place(before.heartbeat) != _version_and_place(heartbeat)

    def fresh_processes(self, *, now: float) -> int:
        """Return how many processes have a recent heartbeat."""
        return sum(now - entry.received_at <= FRESH_S for entry in self._entries.values())

    def turn_terms(self, *, now: float) -> TurnTerms | None:
        """Return what all processes that accept calls let a session set of turn detection; None: it is not known."""
        fresh = [entry.heartbeat for entry in self._entries.values() if now - entry.received_at <= FRESH_S]
        return strictest([beat.turns for beat in fresh if beat.turns is not None and not beat.draining])

    def choose(
        self, random_source: RandomSource, *, tried: Collection[ProcessId], now: float
    ) -> ProcessId | NoPlacement:
        """Return the process to send the offer to next; it counts one more call until its next heartbeat."""
        fresh = {p: entry for p, entry in self._entries.items() if now - entry.received_at <= FRESH_S}
        accepting = {p: entry for p, entry in fresh.items() if not entry.heartbeat.draining}
        with_capacity = {p: entry for p, entry in accepting.items() if entry.load <= MAX_LOAD}
        untried = [p for p in with_capacity if p not in tried]
        if not untried:
            return _no_placement(
                known=len(self._entries), fresh=len(fresh), accepting=len(accepting), with_capacity=len(with_capacity)
            )
        near = [p for p in untried if self.zone and with_capacity[p].heartbeat.zone == self.zone] or untried
        two = random_source.sample(near, min(2, len(near)))
        chosen = min(two, key=lambda process: with_capacity[process].rank)
        with_capacity[chosen].placed_since += 1
        return chosen


def _version_and_place(heartbeat: Heartbeat) -> tuple[str, str, str]:
    return heartbeat.version, heartbeat.zone, heartbeat.http_url


def _no_placement(*, known: int, fresh: int, accepting: int, with_capacity: int) -> NoPlacement:
    if not known:
        return NoPlacement.NONE_KNOWN
    if not fresh:
        return NoPlacement.ALL_SILENT
    if not accepting:
        return NoPlacement.ALL_DRAINING
    return NoPlacement.ALL_TRIED if with_capacity else NoPlacement.ALL_FULL
