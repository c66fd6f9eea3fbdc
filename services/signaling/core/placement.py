"""Which media process gets a call: of two random ones that live and have room, the emptier."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from services.contracts.ids import ProcessId
from services.contracts.messages import Heartbeat

FRESH_S = 5.0
"""Five heartbeats missed: the process is taken for dead."""
MAX_LOAD = 0.7
"""Above this, bursts of set-ups and talking callers make audio late; the rest is for them."""
MAX_ATTEMPTS = 3
_FORGET_S = 60.0


class Dice(Protocol):
    """What chooses; `random.Random` is one."""

    def sample(self, population: Sequence[ProcessId], k: int) -> list[ProcessId]:
        """``k`` different ones."""
        ...


class NoPlace(StrEnum):
    """Why no process can be asked."""

    NONE_KNOWN = "no_media_process"
    ALL_SILENT = "media_silent"
    ALL_DRAINING = "media_draining"
    ALL_FULL = "media_full"
    ALL_TRIED = "media_tried"


@dataclass(slots=True)
class _Entry:
    heartbeat: Heartbeat
    heard_at: float
    placed_since: int = 0

    @property
    def load(self) -> float:
        # What was placed since the heartbeat is not in it yet; a burst within one second must spread, too.
        busy = self.heartbeat.active + self.heartbeat.reserved + self.placed_since
        return busy / self.heartbeat.capacity


@dataclass(slots=True)
class Placement:
    """What is known of the media processes."""

    _entries: dict[ProcessId, _Entry] = field(default_factory=dict)

    def heard(self, heartbeat: Heartbeat, *, now: float) -> None:
        """A process says that it lives; those long silent are forgotten."""
        self._entries[heartbeat.process] = _Entry(heartbeat, now)
        for process in [p for p, entry in self._entries.items() if now - entry.heard_at > _FORGET_S]:
            del self._entries[process]

    def fresh(self, *, now: float) -> int:
        """How many processes are heard."""
        return sum(now - entry.heard_at <= FRESH_S for entry in self._entries.values())

    def choose(self, dice: Dice, *, tried: Collection[ProcessId], now: float) -> ProcessId | NoPlace:
        """The process to ask next; it counts as one call fuller until its next heartbeat."""
        fresh = {p: entry for p, entry in self._entries.items() if now - entry.heard_at <= FRESH_S}
        willing = {p: entry for p, entry in fresh.items() if not entry.heartbeat.draining}
        roomy = {p: entry for p, entry in willing.items() if entry.load <= MAX_LOAD}
        untried = [p for p in roomy if p not in tried]
        if not untried:
            return _why(known=len(self._entries), fresh=len(fresh), willing=len(willing), roomy=len(roomy))
        two = dice.sample(untried, min(2, len(untried)))
        chosen = min(two, key=lambda process: roomy[process].load)
        roomy[chosen].placed_since += 1
        return chosen


def _why(*, known: int, fresh: int, willing: int, roomy: int) -> NoPlace:
    if not known:
        return NoPlace.NONE_KNOWN
    if not fresh:
        return NoPlace.ALL_SILENT
    if not willing:
        return NoPlace.ALL_DRAINING
    return NoPlace.ALL_TRIED if roomy else NoPlace.ALL_FULL
