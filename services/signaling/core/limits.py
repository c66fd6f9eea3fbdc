"""How often a tenant, or an address without a good key, may ask: the generic cell rate algorithm, one number a key.

A key that has not asked for a while is the same as one that never asked, so it takes no memory. Whoever asks from more
addresses than are kept shares the allowance of one: the table neither grows nor forgets who has just asked too much.
"""

import ipaddress
import math
from dataclasses import dataclass, field
from enum import StrEnum

MAX_KEYS = 16_384
_ALL_OTHERS = ""
_NO_ADDRESS = "none"
_EARLY = 1e-3
"""The part of an interval by which a request may be early: adding up intervals is inexact."""


class Limited(StrEnum):
    """Why a request is refused for now: a metric's label."""

    MINTS = "mints"
    OFFERS = "offers"
    LIVE_TOKENS = "live_tokens"
    TOKEN_BYTES = "token_bytes"  # noqa: S105 - a label
    ADDRESS = "address"
    STORE_FULL = "store_full"


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` at once, then ``per_s`` a second."""

    per_s: float
    burst: int


@dataclass(slots=True)
class RateLimiter:
    """Admits or says how long to wait. Of ``max_keys`` and more that are not at rest, the later ones share one."""

    max_keys: int = MAX_KEYS
    _full_at: dict[str, float] = field(default_factory=dict)
    """When the allowance of a key will be whole again; the longest unchanged first."""

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, rate: Rate, *, now: float) -> float:
        """Seconds to wait until ``key`` may ask again; 0: it may now, and that is counted."""
        kept = key if self._has_room(key, now) else _ALL_OTHERS
        full_at = max(self._full_at.get(kept, now), now)
        wait = full_at + (1 - rate.burst) / rate.per_s - now
        if wait > _EARLY / rate.per_s:
            return wait
        self._full_at.pop(kept, None)
        self._full_at[kept] = full_at + 1 / rate.per_s
        return 0.0

    def _has_room(self, key: str, now: float) -> bool:
        while self._full_at:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now:
                break
            del self._full_at[oldest]
        return key in self._full_at or len(self._full_at) < self.max_keys


def whole_seconds(wait_s: float) -> int:
    """What `Retry-After` says: never too early, and never 0."""
    return max(1, math.ceil(wait_s))


def address_key(host: str | None) -> str:
    """Who counts as one address: an IPv4 address, or the /64 of an IPv6 address, which is one customer's."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return _NO_ADDRESS
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
