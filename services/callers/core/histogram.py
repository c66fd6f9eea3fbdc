"""Durations in ms, counted in steps of 0.1 ms: constant memory, and mergeable over processes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

PER_MS = 10
QUANTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))

Percentiles = dict[str, float | None]
"""`p50`, `p95` and `p99` in ms; None when nothing was measured."""


@dataclass(slots=True)
class Histogram:
    """A count per duration. Negative durations count as 0."""

    counts: dict[int, int] = field(default_factory=dict)
    """Count by tenths of a millisecond."""

    def add(self, ms: float) -> None:
        """Count one duration."""
        self.add_all((ms,))

    def add_all(self, durations_ms: Iterable[float]) -> None:
        """Count several durations."""
        counts = self.counts
        for ms in durations_ms:
            step = max(0, round(ms * PER_MS))
            counts[step] = counts.get(step, 0) + 1

    def merge(self, other: "Histogram") -> None:
        """Add the counts of ``other``."""
        for step, count in other.counts.items():
            self.counts[step] = self.counts.get(step, 0) + count

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts.values())

    def above(self, ms: float) -> int:
        """How many durations were longer than ``ms``."""
        return sum(count for step, count in self.counts.items() if step > ms * PER_MS)

    def quantile(self, share: float) -> float | None:
        """The duration in ms that ``share`` of all do not exceed (nearest rank); None when nothing was counted."""
        rank = max(1, math.ceil(share * self.total))
        seen = 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= rank:
                return step / PER_MS
        return None

    def percentiles(self) -> Percentiles:
        """p50, p95 and p99."""
        return {name: self.quantile(share) for name, share in QUANTILES}
