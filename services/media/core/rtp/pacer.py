"""Schedules sending: each call every 20 ms, in slots 5 ms apart, so that calls do not all send at once."""

from typing import Generic, TypeVar

from services.contracts.audio import FRAME_MS

SLOTS = 4
FRAME_S = FRAME_MS / 1000
SLOT_S = FRAME_S / SLOTS
MAX_LATE_S = 0.100
"""Beyond five frames slots are skipped instead of sent in a burst, which would only fill the peer's jitter buffer."""

M = TypeVar("M")


class SlotSchedule(Generic[M]):
    """Assigns members to slots; each is due every 20 ms until it leaves."""

    def __init__(self, *, now: float) -> None:
        self._slots: tuple[dict[M, None], ...] = tuple({} for _ in range(SLOTS))
        self._where: dict[M, int] = {}
        self._next = 0
        self.next_due = now

    def __len__(self) -> int:
        """The number of members."""
        return len(self._where)

    def join(self, member: M, *, spread: bool = False) -> None:
        """Add a member to the next slot; with ``spread`` to the slot with the fewest members. Idempotent."""
        if member in self._where:
            return
        slot = self._next % SLOTS
        if spread:
            slot = min(range(SLOTS), key=lambda index: len(self._slots[index]))
        self._where[member] = slot
        self._slots[slot][member] = None

    def leave(self, member: M) -> None:
        """Remove a member. Idempotent, and allowed while its slot is processed."""
        slot = self._where.pop(member, None)
        if slot is not None:
            del self._slots[slot][member]

    def turn(self, *, now: float) -> tuple[float, tuple[M, ...]] | None:
        """Return the next slot that is due: its time and its members. None: none is due yet.

        Call it until it returns None. Slots that are too late are skipped.
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
    """Whether ``due`` is in an even 20 ms period; for an odd ``number``, in an odd one."""
    return (round(due / FRAME_S) + number) % 2 == 0


class MediaClock:
    """One sender's RTP timestamps. A pause, or skipped slots, leave a gap of the same duration."""

    def __init__(self, *, hz: int, start: int) -> None:
        self._hz = hz
        self._frame = hz * FRAME_MS // 1000
        self._ticks = start  # of the last packet, never wrapped
        self._last_due: float | None = None
        self._frames = 1  # in it

    @property
    def timestamp(self) -> int:
        """The RTP timestamp of the last packet, modulo 2**32."""
        return self._ticks % (1 << 32)

    def lasts(self, *, due: float) -> bool:
        """Whether the last packet had several frames, and its audio extends beyond ``due``."""
        last = self._last_due
        return last is not None and self._frames > 1 and due - last < (self._frames - 0.5) * FRAME_S

    def stamp_packet(self, frames: int = 1, *, due: float) -> bool:
        """Advance `timestamp` to a packet of ``frames`` due at ``due``; return whether it follows a pause."""
        last, self._last_due = self._last_due, due
        sent, self._frames = self._frames, frames
        if last is None:
            return True
        passed_s, length = due - last, sent * self._frame
        begins = passed_s > (sent + 0.5) * FRAME_S
        self._ticks += max(length, round(passed_s * self._hz)) if begins else length
        return begins
