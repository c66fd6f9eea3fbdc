"""The networks that are tried."""

from dataclasses import dataclass

from tests.network.fate import Burst, Conditions

LOSSES = (0.0, 0.01, 0.05, 0.10, 0.20)
BURSTY = (0.05, 0.10)
JITTERS_MS = (0, 30, 100)
BURST_PACKETS = 4.0
"""On average: 80 ms, what a busy Wi-Fi or a hand-over takes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One network, the same both ways. ``jitter_ms``: each datagram is late by 0 to so much, none overtakes another."""

    loss: float
    jitter_ms: int
    bursty: bool = False

    @property
    def row(self) -> str:
        """The kind of loss."""
        return f"{100 * self.loss:g} %{' bursts' if self.bursty else ''}"

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"{self.row} loss, {self.jitter_ms} ms jitter"

    @property
    def conditions(self) -> Conditions:
        """As the network wants it."""
        if self.bursty:
            burst = Burst.of(loss=self.loss, length=BURST_PACKETS)
            return Conditions(jitter_ms=self.jitter_ms, burst=burst)
        return Conditions(jitter_ms=self.jitter_ms, loss=self.loss)


QUICK = (Cell(0.0, 0), Cell(0.05, 30))
MATRIX = tuple(
    Cell(loss, jitter, bursty)
    for losses, bursty in ((LOSSES, False), (BURSTY, True))
    for loss in losses
    for jitter in JITTERS_MS
)
