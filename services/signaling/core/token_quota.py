"""Share of the token store that one tenant may fill: half of what is free now.

So one tenant that mints without end stops at a third of the store, and each further one at a third of the rest:
other tenants always have space, however many they are (dynamic thresholds, Choudhury and Hahne 1998). The store's fill
comes from the server and is the same for all processes; a tenant's tokens are counted by each process. With ``k``
processes one tenant can fill at most k / (2 + k).
"""

import heapq
from dataclasses import dataclass, field

from services.contracts.ids import TenantId
from services.signaling.core.limits import Limited

DEFAULT_RETRY_S = 5.0
"""Wait to suggest when other tenants fill the store: it is not known when their tokens expire."""


@dataclass(frozen=True, slots=True)
class QuotaExceeded:
    """The tenant must wait ``wait_s`` until the first of its tokens expires."""

    reason: Limited
    wait_s: float


@dataclass(frozen=True, slots=True)
class TokenQuota:
    """The most tokens, and bytes of tokens, that a tenant may hold."""

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
    """Return the bytes a tenant may hold of a store of ``bound`` bytes, ``used`` of them by all tenants with it."""
    return max(0, bound - used) // 2


@dataclass(slots=True)
class LiveTokens:
    """The unredeemed, unexpired tokens of each tenant."""

    _held: dict[TenantId, _Held] = field(default_factory=dict)

    def reserve(
        self, tenant: TenantId, key: str, size: int, *, allowed: TokenQuota, now: float, end: float
    ) -> QuotaExceeded | None:
        """Count a token under ``key`` of ``size`` bytes that expires at ``end``; store it only if this returns None."""
        held = self._held.setdefault(tenant, _Held())
        held.expire(now)
        if len(held.size) >= allowed.tokens:
            return QuotaExceeded(Limited.LIVE_TOKENS, held.ends[0][0] - now)
        if held.total + size > allowed.room:
            return QuotaExceeded(Limited.TOKEN_BYTES, held.ends[0][0] - now if held.ends else DEFAULT_RETRY_S)
        held.size[key] = size
        held.total += size
        heapq.heappush(held.ends, (end, key))
        return None

    def release(self, tenant: TenantId, key: str) -> None:
        """Stop counting a token that was redeemed or not stored. Tokens of other processes are not counted here."""
        if held := self._held.get(tenant):
            held.drop(key)

    def of(self, tenant: TenantId) -> tuple[int, int]:
        """Return how many tokens a tenant holds, and their bytes."""
        held = self._held.get(tenant) or _Held()
        return len(held.size), held.total
