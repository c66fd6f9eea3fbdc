"""When whose next frame goes: turns of 20 ms in slots 5 ms apart, so that calls do not all send at once."""

from typing import Generic, TypeVar

from services.contracts.audio import FRAME_MS

SLOTS = 4
FRAME_S = FRAME_MS / 1000
SLOT_S = FRAME_S / SLOTS
MAX_LATE_S = 0.100
"""Later than five frames we skip ahead instead of bursting: a burst only fills the far jitter buffer."""

M = TypeVar("M")


class Rota(Generic[M]):
    """All members of a process take turns, each every 20 ms, for as long as it stays."""

    def __init__(self, *, now: float) -> None:
        self._slots: tuple[dict[M, None], ...] = tuple({} for _ in range(SLOTS))
        self._where: dict[M, int] = {}
        self._next = 0
        self.next_due = now

    def __len__(self) -> int:
        """How many have turns."""
        return len(self._where)

    def join(self, member: M, *, spread: bool = False) -> None:
        """Have turns, from the next slot on; with ``spread`` in the slot with the fewest members. Safe to repeat."""
        if member in self._where:
            return
        slot = self._next % SLOTS
        if spread:
            slot = min(range(SLOTS), key=lambda index: len(self._slots[index]))
        self._where[member] = slot
        self._slots[slot][member] = None

    def leave(self, member: M) -> None:
        """Have no more turns. Safe to repeat, also while it is one's turn."""
        slot = self._where.pop(member, None)
        if slot is not None:
            del self._slots[slot][member]

    def turn(self, *, now: float) -> tuple[float, tuple[M, ...]] | None:
        """The next slot whose time has come: when it was due, and who has the turn. None: it has not come yet.

        Call it until it gives None. Slots that are too late are skipped, all of them.
        """
        if now < self.next_due:
            return None
        if now - self.next_due > MAX_LATE_S:
            self.next_due = now
        due, members = self.next_due, tuple(self._slots[self._next % SLOTS])
        self._next += 1
        self.next_due += SLOT_S
        return due, members


def is_second(due: float, number: int) -> bool:
    """Whether a turn is one of every second, by when it is due; for odd numbers it is the others."""
    return (round(due / FRAME_S) + number) % 2 == 0


class MediaClock:
    """One sender's RTP time. A pause, or turns that were skipped, leave a gap just as long as they were."""

    def __init__(self, *, hz: int, start: int) -> None:
        self._hz = hz
        self._frame = hz * FRAME_MS // 1000
        self._ticks = start  # of the last packet, never wrapped
        self._last_due: float | None = None
        self._frames = 1  # in it

    @property
    def timestamp(self) -> int:
        """RTP time of the last packet."""
        return self._ticks % (1 << 32)

    def lasts(self, *, due: float) -> bool:
        """The last packet held several frames, and its sound is not over at ``due``."""
        last = self._last_due
        return last is not None and self._frames > 1 and due - last < (self._frames - 0.5) * FRAME_S

    def take(self, frames: int = 1, *, due: float) -> bool:
        """A packet of ``frames`` that is due at ``due`` goes out as `timestamp`; returns whether it follows a pause."""
        last, self._last_due = self._last_due, due
        sent, self._frames = self._frames, frames
        if last is None:
            return True
        passed_s, length = due - last, sent * self._frame
        begins = passed_s > (sent + 0.5) * FRAME_S
        self._ticks += max(length, round(passed_s * self._hz)) if begins else length
        return begins
