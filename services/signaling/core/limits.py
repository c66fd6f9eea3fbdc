"""Request rates by tenant and by unauthenticated address: one token bucket per key.

A bucket that is full again is removed, so an idle key uses no memory. Beyond the maximum number of keys, all further
keys share one bucket: the table does not grow, and a key that exceeded its rate is not removed to make room.
"""

import ipaddress
import math
from dataclasses import dataclass, field
from enum import StrEnum

from services.runtime.core.token_bucket import TokenBucket

MAX_KEYS = 16_384
_ALL_OTHERS = ""
_NO_ADDRESS = "none"


class Limited(StrEnum):
    """Why a request is rate limited: the label of the metric."""

    MINTS = "mints"
    OFFERS = "offers"
    LIVE_TOKENS = "live_tokens"
    TOKEN_BYTES = "token_bytes"  # noqa: S105 - a label
    CALLS = "calls"
    HALF_OPEN = "half_open"
    ADDRESS = "address"
    STORE_FULL = "store_full"


@dataclass(frozen=True, slots=True)
class RequestRate:
    """Parameters of a token bucket: ``burst`` requests at once, then ``per_s`` a second."""

    per_s: float
    burst: int


@dataclass(slots=True)
class RequestBuckets:
    """A rate limiter by key. Beyond ``max_keys`` keys in use, further keys share one bucket."""

    max_keys: int = MAX_KEYS
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    """The buckets that are not full, the least recently used first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, rate: RequestRate, *, now: float) -> float:
        """Count a request of ``key`` and return 0, or return the seconds that it must wait."""
        kept = key if self._has_room(key, now) else _ALL_OTHERS
        bucket = self._buckets.get(kept) or TokenBucket(rate.per_s, rate.burst)
        bucket.per_s, bucket.burst = rate.per_s, rate.burst  # the tenants file may have changed
        wait_s = bucket.take(now=now)
        if not wait_s:
            self._buckets.pop(kept, None)
            self._buckets[kept] = bucket
        return wait_s

    def _has_room(self, key: str, now: float) -> bool:
        while self._buckets:
            oldest = next(iter(self._buckets))
            if self._buckets[oldest].full_at > now:
                break
            del self._buckets[oldest]
        return key in self._buckets or len(self._buckets) < self.max_keys


def whole_seconds(wait_s: float) -> int:
    """Round up to the whole seconds of `Retry-After`, at least 1."""
    return max(1, math.ceil(wait_s))


def address_key(host: str | None) -> str:
    """Return the key of an address: an IPv4 address, or the /64 prefix of an IPv6 address."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return _NO_ADDRESS
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
