"""Limits by tenant, and by address for requests without a valid key.

Each process counts requests for itself: with n signaling processes a tenant gets n times its rates.
"""

from dataclasses import dataclass, field

from fastapi import Request

from services.contracts.grant import MinuteLimits
from services.contracts.ids import TenantId
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.core.limits import Limited, RequestBuckets, RequestRate, address_key, whole_seconds
from services.signaling.core.live_calls import CallQuota
from services.signaling.core.tenants import Rates, Tenant
from services.signaling.core.token_quota import TokenQuota
from services.signaling.errors import ApiError, rate_limited

_MESSAGES = {
    Limited.MINTS: "This tenant mints tokens too fast. Wait as long as Retry-After says.",
    Limited.OFFERS: "This tenant begins calls too fast. Wait as long as Retry-After says.",
    Limited.LIVE_TOKENS: (
        "This tenant has as many unused tokens as it may. Use them, let them expire, or mint with a smaller "
        "expires_after."
    ),
    Limited.TOKEN_BYTES: (
        "The unused tokens of this tenant use all the storage it may have. Let them expire, mint with a smaller "
        "expires_after, or keep long instructions out of the token and in the tenant's session."
    ),
    Limited.CALLS: "This tenant has as many calls at once as it may. Try again when one has ended.",
    Limited.HALF_OPEN: (
        "Too many calls of this tenant are answered and not connected yet. Try again when some have connected, or have "
        "ended without: ten seconds after the answer."
    ),
    Limited.ADDRESS: "Too many requests without a valid key from this address. Wait as long as Retry-After says.",
    Limited.STORE_FULL: "The gateway has no storage left for more tokens. Try again.",
}
_LOGGED = RequestRate(per_s=1 / 60, burst=1)


@dataclass(frozen=True, slots=True)
class RequestLimiter:
    """The rate limits of this process. ``defaults``: rates of tenants whose entry sets none."""

    defaults: Rates
    address: RequestRate
    _mints: RequestBuckets = field(default_factory=RequestBuckets)
    _offers: RequestBuckets = field(default_factory=RequestBuckets)
    _addresses: RequestBuckets = field(default_factory=RequestBuckets)
    _logged: RequestBuckets = field(default_factory=RequestBuckets)

    def count_mint(self, tenant: Tenant) -> None:
        """Count a request for a token.

        Raises:
            ApiError: 429, above the tenant's rate.
        """
        rates = self._rates_of(tenant)
        self._count(self._mints, tenant, RequestRate(rates.mints_per_s, rates.mints_burst), Limited.MINTS)

    def count_offer(self, tenant: Tenant) -> None:
        """Count an offer.

        Raises:
            ApiError: 429, above the tenant's rate.
        """
        rates = self._rates_of(tenant)
        self._count(self._offers, tenant, RequestRate(rates.offers_per_s, rates.offers_burst), Limited.OFFERS)

    def count_unauthenticated(self, request: Request) -> None:
        """Count a request without a valid key or token.

        Raises:
            ApiError: 429, above the address's rate.
        """
        key = address_key(request.client.host if request.client else None)
        wait_s = self._addresses.take(key, self.address, now=clock.monotonic())
        if wait_s:
            raise self.refusal(Limited.ADDRESS, wait_s)

    def token_quota(self, tenant: Tenant) -> TokenQuota:
        """Return how many redeemable tokens the tenant may hold, and their bytes."""
        rates = self._rates_of(tenant)
        return TokenQuota(tokens=rates.live_tokens, room=rates.token_bytes)

    def call_quota(self, tenant: Tenant) -> CallQuota:
        """Return how many calls the tenant may have at once."""
        rates = self._rates_of(tenant)
        return CallQuota(calls=rates.live_calls, half_open=rates.half_open_calls)

    def tenant_limits(self, tenant: Tenant) -> MinuteLimits:
        """Return what the tenant's calls may use in a minute."""
        return self._rates_of(tenant).in_a_minute

    def refusal(self, reason: Limited, wait_s: float, *, tenant: TenantId | None = None) -> ApiError:
        """Count the refusal and return the error to raise. Log the tenant at most once a minute: metrics are public."""
        metrics.LIMITED.labels(reason).inc()
        if tenant is not None and not self._logged.take(f"{tenant} {reason}", _LOGGED, now=clock.monotonic()):
            get_logger().warning("tenant_limited", tenant_id=tenant, limit=reason)
        return rate_limited(_MESSAGES[reason], whole_seconds(wait_s), store_full=reason is Limited.STORE_FULL)

    def _rates_of(self, tenant: Tenant) -> Rates:
        return self.defaults.overridden_by(tenant.rates)

    def _count(self, limiter: RequestBuckets, tenant: Tenant, rate: RequestRate, reason: Limited) -> None:
        wait_s = limiter.take(tenant.id, rate, now=clock.monotonic())
        if wait_s:
            raise self.refusal(reason, wait_s, tenant=tenant.id)
