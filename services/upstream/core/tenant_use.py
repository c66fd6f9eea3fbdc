"""What one worker knows of a tenant's minute, and what it takes of it before the other workers know.

Far below a limit a worker takes from what it knows, so that no response waits for the bucket. That may exceed the limit
by a fiftieth for each worker, if half of it is used within five seconds. Limits below fifty are exact.
"""

from collections.abc import Iterable

from services.upstream.core.minute_use import Charge, MinuteUse, RateKind

FRESH_MS = 5000
"""How long what was read from the bucket is good enough to take from."""
_FAR = 2
"""A limit is far while the use is at most its half."""
_SHARE = 50
"""What a worker may take before it has told the others: a fiftieth of the limit."""


class TenantUse:
    """One worker's copy of a tenant's use. ``now_ms`` must come from one clock."""

    def __init__(self) -> None:
        self._use = MinuteUse()
        self._read_ms = -FRESH_MS
        self._unbooked: dict[RateKind, int] = {}
        self._cut_off_until_ms = 0

    @property
    def is_booked(self) -> bool:
        """Whether the bucket has all that was taken alone."""
        return not self._unbooked

    def take_alone(self, charges: Iterable[Charge], *, now_ms: int) -> bool:
        """Take all of ``charges`` if their limits are far; False if the bucket must be asked."""
        charges = tuple(charges)
        if not 0 <= now_ms - self._read_ms < FRESH_MS or not all(self._is_far(charge, now_ms) for charge in charges):
            return False
        self._use.take(charges, now_ms=now_ms)
        for charge in charges:
            if charge.amount:
                self._unbooked[charge.kind] = self._unbooked.get(charge.kind, 0) + charge.amount
        return True

    def pop_unbooked(self) -> tuple[Charge, ...]:
        """Return what the bucket has to be told; what is taken alone from now on is the next."""
        unbooked, self._unbooked = self._unbooked, {}
        return _forced(unbooked)

    def on_read(self, shared: MinuteUse, *, now_ms: int) -> None:
        """Continue from what the bucket has, and what was taken alone since `pop_unbooked`."""
        shared.take(_forced(self._unbooked), now_ms=now_ms)
        self._use = shared
        self._read_ms = now_ms

    def on_unanswered(self, *, now_ms: int) -> MinuteUse:
        """Return what decides instead of the bucket, for `FRESH_MS`: what was known last and has been taken since."""
        self._cut_off_until_ms = now_ms + FRESH_MS
        return self._use

    def without_bucket(self, *, now_ms: int) -> MinuteUse | None:
        """Return what decides if the bucket has lately not answered, so that not each response waits for it."""
        return self._use if now_ms < self._cut_off_until_ms else None

    def _is_far(self, charge: Charge, now_ms: int) -> bool:
        amount = max(charge.amount, 0)
        used = self._use.used(charge.kind, now_ms=now_ms) + amount
        ahead = self._unbooked.get(charge.kind, 0) + amount
        return used * _FAR <= charge.limit and ahead * _SHARE <= charge.limit


def _forced(amounts: dict[RateKind, int]) -> tuple[Charge, ...]:
    return tuple(Charge(kind, amount, 0, forced=True) for kind, amount in amounts.items())
