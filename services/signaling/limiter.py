"""Refuses who asks too often, each for itself: a tenant by its own limits, an address that has no good key by its own.

What is counted is counted in this process; behind several a tenant gets as many times its rates.
"""

from dataclasses import dataclass, field

from fastapi import Request

from services.contracts.ids import TenantId
from services.runtime import clock
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.core.limits import Limited, Rate, RateLimiter, address_key, whole_seconds
from services.signaling.core.tenants import Rates, Tenant
from services.signaling.errors import ApiError, rate_limited

_SAYS = {
    Limited.MINTS: "This tenant mints tokens too fast. Wait as long as Retry-After says.",
    Limited.OFFERS: "This tenant begins calls too fast. Wait as long as Retry-After says.",
    Limited.LIVE_TOKENS: (
        "This tenant has as many unused tokens as it may. Use them, let them expire, or mint with a smaller "
        "expires_after."
    ),
    Limited.TOKEN_BYTES: (
        "The unused tokens of this tenant take all the room it may have. Let them expire, mint with a smaller "
        "expires_after, or keep long instructions out of the token and in the tenant's session."
    ),
    Limited.ADDRESS: "Too many requests without a valid key from this address. Wait as long as Retry-After says.",
    Limited.STORE_FULL: "The gateway has no room for more tokens. Try again.",
}
_LOGGED = Rate(per_s=1 / 60, burst=1)


@dataclass(frozen=True, slots=True)
class Limiter:
    """Made once a process. ``defaults`` are for tenants whose entry says nothing else."""

    defaults: Rates
    address: Rate
    _mints: RateLimiter = field(default_factory=RateLimiter)
    _offers: RateLimiter = field(default_factory=RateLimiter)
    _addresses: RateLimiter = field(default_factory=RateLimiter)
    _logged: RateLimiter = field(default_factory=RateLimiter)

    def mint(self, tenant: Tenant) -> None:
        """Count a request for a token.

        Raises:
            ApiError: 429.
        """
        rates = self._of(tenant)
        self._take_of(self._mints, tenant, Rate(rates.mints_per_s, rates.mints_burst), Limited.MINTS)

    def offer(self, tenant: Tenant) -> None:
        """Count an offer.

        Raises:
            ApiError: 429.
        """
        rates = self._of(tenant)
        self._take_of(self._offers, tenant, Rate(rates.offers_per_s, rates.offers_burst), Limited.OFFERS)

    def stranger(self, request: Request) -> None:
        """Count a request that has no good key or token.

        Raises:
            ApiError: 429.
        """
        key = address_key(request.client.host if request.client else None)
        wait_s = self._addresses.take(key, self.address, now=clock.monotonic())
        if wait_s:
            raise self.refusal(Limited.ADDRESS, wait_s)

    def live_tokens(self, tenant: Tenant) -> int:
        """How many tokens that can still be redeemed the tenant may have."""
        return self._of(tenant).live_tokens

    def refusal(self, reason: Limited, wait_s: float, *, tenant: TenantId | None = None) -> ApiError:
        """Count why, and say when to come again. The log names a tenant once a minute: metrics are public."""
        metrics.LIMITED.labels(reason).inc()
        if tenant is not None and not self._logged.take(f"{tenant} {reason}", _LOGGED, now=clock.monotonic()):
            get_logger().warning("tenant_limited", tenant_id=tenant, limit=reason)
        return rate_limited(_SAYS[reason], whole_seconds(wait_s), store_full=reason is Limited.STORE_FULL)

    def _of(self, tenant: Tenant) -> Rates:
        return self.defaults.under(tenant.rates)

    def _take_of(self, limiter: RateLimiter, tenant: Tenant, rate: Rate, reason: Limited) -> None:
        wait_s = limiter.take(tenant.id, rate, now=clock.monotonic())
        if wait_s:
            raise self.refusal(reason, wait_s, tenant=tenant.id)
