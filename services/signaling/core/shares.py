"""How much of the bucket of tokens one tenant may fill: half of what is free, by what is filled now.

So one tenant that mints without end stops at a third of the bucket, and each one more at a third of what is left:
there is always room for the others, however many they are (dynamic thresholds, Choudhury and Hahne 1998). How full the
bucket is comes from the server and is the same for all processes; what a tenant holds is counted in each. With ``k``
processes a flood of one tenant stops at k / (2 + k).
"""

import heapq
from dataclasses import dataclass, field

from services.contracts.ids import TenantId
from services.signaling.core.limits import Limited

NOBODY_ELSE_S = 5.0
"""What to wait for when others fill the bucket: nobody knows when they will be done."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No more for now; ``wait_s``: until the first of the tenant's tokens is gone."""

    reason: Limited
    wait_s: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant may hold: so many tokens, so many bytes together."""

    tokens: int
    room: int


@dataclass(slots=True)
class _Held:
    size: dict[str, int] = field(default_factory=dict)
    ends: list[tuple[float, str]] = field(default_factory=list)
    total: int = 0

    def drop(self, key: str) -> None:
        self.total -= self.size.pop(key, 0)

    def expire(self, now: float) -> None:
        while self.ends and (self.ends[0][0] <= now or self.ends[0][1] not in self.size):
            self.drop(heapq.heappop(self.ends)[1])
        if len(self.ends) > 2 * len(self.size) + 16:  # most were redeemed before their end
            self.ends = [(end, key) for end, key in self.ends if key in self.size]
            heapq.heapify(self.ends)


def share(*, bound: int, used: int) -> int:
    """The bytes that a tenant may hold of a bucket of ``bound`` bytes of which ``used`` are taken, its own included."""
    return max(0, bound - used) // 2


@dataclass(slots=True)
class LiveTokens:
    """What each tenant holds of tokens that are not redeemed and not expired."""

    _held: dict[TenantId, _Held] = field(default_factory=dict)

    def reserve(
        self, tenant: TenantId, key: str, size: int, *, allowed: Allowance, now: float, end: float
    ) -> Refused | None:
        """Count a token under ``key`` of ``size`` bytes that will be gone at ``end``; None: it may be made."""
        held = self._held.setdefault(tenant, _Held())
        held.expire(now)
        if len(held.size) >= allowed.tokens:
            return Refused(Limited.LIVE_TOKENS, held.ends[0][0] - now)
        if held.total + size > allowed.room:
            return Refused(Limited.TOKEN_BYTES, held.ends[0][0] - now if held.ends else NOBODY_ELSE_S)
        held.size[key] = size
        held.total += size
        heapq.heappush(held.ends, (end, key))
        return None

    def release(self, tenant: TenantId, key: str) -> None:
        """The token was redeemed or was not made; one that another process made is not known here."""
        if held := self._held.get(tenant):
            held.drop(key)

    def of(self, tenant: TenantId) -> tuple[int, int]:
        """How many tokens a tenant holds, and their bytes."""
        held = self._held.get(tenant) or _Held()
        return len(held.size), held.total
