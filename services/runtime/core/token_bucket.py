"""A token bucket: the only rate limit in this tree."""

from dataclasses import dataclass

_EARLY = 1e-3
"""The part of a token that may be missing: sums of float durations are inexact."""


@dataclass(slots=True)
class TokenBucket:
    """Allows ``burst`` tokens at once, then ``per_s`` a second; both may be changed at any time.

    It is the generic cell rate algorithm: the only state is the time at which the bucket is full again.
    """

    per_s: float
    burst: float
    full_at: float = 0.0
    """Monotonic seconds at which the bucket is full again."""

    def take(self, *, now: float, cost: float = 1.0) -> float:
        """Take ``cost`` tokens and return 0, or take none and return the seconds until enough are available."""
        full_at = max(self.full_at, now)
        wait_s = full_at + (cost - self.burst) / self.per_s - now
        if wait_s > _EARLY / self.per_s:
            return wait_s
        self.full_at = full_at + cost / self.per_s
        return 0.0

    def left(self, *, now: float) -> float:
        """Return how many tokens are available."""
        return self.burst - max(0.0, self.full_at - now) * self.per_s
