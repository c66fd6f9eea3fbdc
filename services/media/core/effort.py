"""How hard senders try: a core that has time makes the best of each frame, one that has not carries more calls.

Less effort is not heard as such: libopus takes the change with the next frame (six sentences, medians, ADR 8).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """What an answer may cost. ``complexity`` is libopus', 0 to 10; above 5 the gain is not worth it.

    ``frames``: how many of 20 ms may share a packet.
    """

    complexity: int
    bit_rate: int
    frames: int = 1


FULL = Effort(5, 80_000)
"""PESQ 4.46, 76 µs a frame."""
LESS = Effort(0, 80_000)
"""PESQ 4.39, 46 µs."""
LEAST = Effort(0, 64_000, frames=2)
"""PESQ 4.23, a tenth less time to encode; half the packets to fetch, encrypt and send. The second frame of a packet
leaves early, so the first is as soon as ever; but it cannot be called back when the caller barges in."""
BUSY, VERY_BUSY = 0.55, 0.75
"""Shares of a core; calls that come in a burst still find room."""
FREE, LESS_BUSY = 0.30, 0.60
"""So far below that the effort which is made again does not lead back."""


class Efforts:
    """One process's effort, by how busy its core is."""

    def __init__(self) -> None:
        self.now = FULL

    def measured(self, busy: float) -> bool:
        """The process used ``busy`` of a core in the last second; returns whether the effort changes."""
        before = self.now
        if busy >= VERY_BUSY:
            self.now = LEAST
        elif busy <= FREE:
            self.now = FULL
        elif (busy >= BUSY and before is FULL) or (busy <= LESS_BUSY and before is LEAST):
            self.now = LESS
        return self.now is not before
