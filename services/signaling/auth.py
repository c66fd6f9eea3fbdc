"""Authenticate requests: a tenant by its key, or the holder of a redeemed token for that token's call."""

from dataclasses import dataclass

from fastapi import Request

from services.contracts import ids
from services.contracts.ids import CallId, InvalidIdError, KeyId, TenantId
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.core import origins
from services.signaling.core.origins import OwnOrigin
from services.signaling.core.tenants import Tenant
from services.signaling.core.token import Rejection
from services.signaling.errors import ApiError, no_such_call, unauthorized
from services.signaling.grants import Grants, Redemption, TokenRejectedError
from services.signaling.request_limiter import RequestLimiter
from services.signaling.tenants_file import TenantsFile


def own(request: Request) -> OwnOrigin:
    """Return the API's own origin as the request names it."""
    return OwnOrigin(scheme=request.url.scheme, host=request.headers.get("host", ""))


def bearer_or_none(request: Request) -> str | None:
    """Return the bearer credential of the request, or None if it has none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who may make a call: a tenant (``token`` is None), or the holder of one of its tokens."""

    tenant: Tenant
    token: Redemption | None


@dataclass(frozen=True, slots=True)
class Authority:
    """Authenticates requests and applies request rates."""

    tenants: TenantsFile
    grants: Grants
    limiter: RequestLimiter

    def bearer(self, request: Request) -> str:
        """Return the bearer credential of the request.

        Raises:
            ApiError: 401, the request has none; 429, too many such requests from this address.
        """
        value = bearer_or_none(request)
        if value is None:
            raise self.rejected(request, "missing")
        return value

    def rejected(self, request: Request, reason: str) -> ApiError:
        """Count the rejection and return the error to raise; the client does not receive the reason.

        Requests with a valid key or token are not counted, so clients behind one address do not limit each other.
        """
        metrics.TOKENS_REJECTED.labels(reason).inc()
        try:
            self.limiter.count_unauthenticated(request)
        except ApiError as too_many:
            return too_many
        return unauthorized()

    def tenant_of_key(self, request: Request) -> Tenant | None:
        """Return the tenant whose key the request carries, or None. Check the request's origin against the tenant's."""
        found = self.tenants.current().by_key(self.bearer(request))
        if found is not None:
            self.check_origin(request, found)
        return found

    def tenant(self, request: Request) -> Tenant:
        """Return the tenant whose key the request carries.

        Raises:
            ApiError: 401, or 403 for an origin that the tenant does not allow.
        """
        found = self.tenant_of_key(request)
        if found is None:
            raise self.rejected(request, "key")
        return found

    async def admit(self, request: Request, call: CallId) -> Principal:
        """Authenticate the sender of a request for ``call`` before the body is read; redeems no token.

        Raises:
            ApiError: 401, or 403 for an origin that the tenant does not allow.
        """
        tenant = self.tenant_of_key(request)
        if tenant is not None:
            return Principal(tenant, None)
        try:
            planned = await self.grants.redeemable(self.bearer(request), call)
        except TokenRejectedError as exc:
            raise self.rejected(request, exc.reason) from None
        return Principal(self.tenant_of_token(request, planned.record.tenant, planned.record.key), planned)

    async def admit_offer(self, request: Request, call: CallId) -> Principal:
        """Authenticate the sender of an offer like `admit`, and count the offer.

        Raises:
            ApiError: 401, 403, or 429 for a tenant that sends too many offers.
        """
        admitted = await self.admit(request, call)
        self.limiter.count_offer(admitted.tenant)
        return admitted

    def tenant_of_token(self, request: Request, tenant: TenantId, key: KeyId) -> Tenant:
        """Return the tenant that a token was minted for. It is invalid once tenant or key have left the tenants file.

        Raises:
            ApiError: 401, or 403 for an origin that the tenant does not allow.
        """
        found = self.tenants.current().by_id(tenant)
        if found is None:
            raise self.rejected(request, Rejection.TENANT_GONE)
        if not found.has_key(key):
            raise self.rejected(request, Rejection.KEY_GONE)
        self.check_origin(request, found)
        return found

    @staticmethod
    def check_origin(request: Request, tenant: Tenant) -> None:
        """Check the request's `Origin` against the tenant's list of origins.

        Raises:
            ApiError: 403, the tenant does not allow the origin.
        """
        origin = request.headers.get("origin")
        if origin and tenant.origins and not origins.allowed(origin, origins=tenant.origins, own=own(request)):
            raise ApiError(403, "This origin may not use this tenant's calls.", code="origin_not_allowed")

    async def authorize_call(self, request: Request, text: str) -> tuple[CallId, Tenant]:
        """Return the call that the request may hang up and read the usage of, and its tenant.

        Raises:
            ApiError: 401; 404 for a call that is unknown or belongs to another tenant.
        """
        tenant = self.tenant_of_key(request)
        if tenant is None:
            return await self._call_of_token(request, text)
        call = _call_id(text)
        owner = await self.grants.owner(call)
        if owner is None or owner.tenant != tenant.id:
            get_logger().warning("call_access_refused", call_id=call, tenant_id=tenant.id)
            raise no_such_call()
        return call, tenant

    async def _call_of_token(self, request: Request, text: str) -> tuple[CallId, Tenant]:
        try:
            redeemed = await self.grants.redeemed_call(self.bearer(request))
        except TokenRejectedError as exc:
            raise self.rejected(request, exc.reason) from None
        tenant = self.tenant_of_token(request, redeemed.tenant, redeemed.key)
        if text != redeemed.call:
            get_logger().warning("call_access_refused", call_id=redeemed.call, tenant_id=redeemed.tenant)
            raise no_such_call()
        return redeemed.call, tenant


def _call_id(text: str) -> CallId:
    try:
        return ids.call_id(text)
    except InvalidIdError:
        raise no_such_call() from None
