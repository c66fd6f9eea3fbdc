"""What one worker knows of a tenant's minute, and what it takes of it before the other workers know.

Far below a limit a worker takes from what it knows, so that no response waits for the bucket. That may exceed the limit
by a fiftieth for each worker, if half of it is used within five seconds. Limits below fifty are exact.

While the bucket does not answer, a worker takes from what it knew last. All that it takes alone is kept by the time of
taking until the bucket has it, or until it is older than a minute.
"""

from collections.abc import Iterable

from services.upstream.core.minute_use import SLOT_MS, Charge, MinuteUse, RateExceeded, RateKind, RateSlots, live_slots

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
        self._unbooked: RateSlots = {}
        self._in_flight: RateSlots = {}
        self._cut_off_until_ms = 0

    def is_booked(self, *, now_ms: int) -> bool:
        """Whether the bucket has all that was taken alone and still counts."""
        return not (live_slots(self._unbooked, now_ms=now_ms) or live_slots(self._in_flight, now_ms=now_ms))

    def take_alone(self, charges: Iterable[Charge], *, now_ms: int) -> bool:
        """Take all of ``charges`` if their limits are far; False if the bucket must be asked."""
        charges = tuple(charges)
        if not 0 <= now_ms - self._read_ms < FRESH_MS or not all(self._is_far(charge, now_ms) for charge in charges):
            return False
        self._use.take(charges, now_ms=now_ms)
        self._remember(charges, now_ms)
        return True

    def take_cut_off(self, charges: Iterable[Charge], *, now_ms: int) -> RateExceeded | None:
        """Decide instead of the bucket: take all of ``charges`` of what is known here, or return what is exceeded."""
        charges = tuple(charges)
        exceeded = self._use.take(charges, now_ms=now_ms)
        if exceeded is None:
            self._remember(charges, now_ms)
        return exceeded

    def pop_unbooked(self, *, now_ms: int) -> RateSlots:
        """Return what the bucket has to be told, until `on_read` or `on_unanswered`; what is taken now is the next."""
        self._in_flight, self._unbooked = live_slots(self._unbooked, now_ms=now_ms), {}
        return self._in_flight

    def on_read(self, shared: MinuteUse, *, now_ms: int) -> None:
        """Continue from what the bucket has, and what was taken alone since `pop_unbooked`."""
        shared.merge(self._unbooked, now_ms=now_ms)
        self._use = shared
        self._read_ms = now_ms
        self._in_flight = {}
        self._cut_off_until_ms = 0

    def on_unanswered(self, *, now_ms: int) -> None:
        """Keep what the bucket was told in vain, for the next time, and decide alone for `FRESH_MS`."""
        for kind, amounts in self._in_flight.items():
            for slot, amount in amounts.items():
                self._keep(kind, slot, amount)
        self._in_flight = {}
        self._cut_off_until_ms = now_ms + FRESH_MS

    def cut_off_ms(self, *, now_ms: int) -> int:
        """Return how long the bucket is not to be asked, because it has lately not answered; 0: it may be."""
        return min(max(self._cut_off_until_ms - now_ms, 0), FRESH_MS)

    def _is_far(self, charge: Charge, now_ms: int) -> bool:
        amount = max(charge.amount, 0)
        used = self._use.used(charge.kind, now_ms=now_ms) + amount
        unbooked = live_slots(self._unbooked, now_ms=now_ms).get(charge.kind, {})
        ahead = sum(unbooked.values()) + amount
        return used * _FAR <= charge.limit and ahead * _SHARE <= charge.limit

    def _remember(self, charges: Iterable[Charge], now_ms: int) -> None:
        self._unbooked = live_slots(self._unbooked, now_ms=now_ms)
        for charge in charges:
            if charge.amount:
                self._keep(charge.kind, now_ms // SLOT_MS, charge.amount)

    def _keep(self, kind: RateKind, slot: int, amount: int) -> None:
        slots = self._unbooked.setdefault(kind, {})
        slots[slot] = slots.get(slot, 0) + amount
