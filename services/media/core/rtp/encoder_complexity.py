"""Encoder complexity by CPU load: an idle core encodes at high quality, a busy one carries more calls.

A change is not audible as such: libopus applies it with the next frame (six sentences, medians, ADR 8).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncoderComplexity:
    """An encoding level. ``complexity`` is libopus', 0 to 10; above 5 the gain is not worth it.

    ``frames``: how many frames of 20 ms may share a packet.
    """

    complexity: int
    bit_rate: int
    frames: int = 1


FULL = EncoderComplexity(5, 80_000)
"""PESQ 4.46, 76 µs a frame."""
LESS = EncoderComplexity(0, 80_000)
"""PESQ 4.39, 46 µs."""
LEAST = EncoderComplexity(0, 64_000, frames=2)
"""PESQ 4.23, a tenth less time to encode; half the packets to fetch, encrypt and send. The second frame of a packet is
sent early, so the first is not delayed; but it cannot be revoked by a barge-in."""
BUSY, VERY_BUSY = 0.55, 0.75
"""Shares of a core; leaves headroom for calls that come in a burst."""
FREE, LESS_BUSY = 0.30, 0.60
"""Hysteresis: low enough that the higher complexity does not exceed the threshold again."""


class ComplexityControl:
    """The encoder complexity of one process, by the load of its core."""

    def __init__(self) -> None:
        self.now = FULL

    def measured(self, busy: float) -> bool:
        """Record that the process used ``busy`` of a core in the last second; return whether the complexity changes."""
        before = self.now
        if busy >= VERY_BUSY:
            self.now = LEAST
        elif busy <= FREE:
            self.now = FULL
        elif (busy >= BUSY and before is FULL) or (busy <= LESS_BUSY and before is LEAST):
            self.now = LESS
        return self.now is not before
