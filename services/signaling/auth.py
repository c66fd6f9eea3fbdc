"""Who asks: a tenant by its key, or the holder of a redeemed token about its own call."""

from dataclasses import dataclass

from fastapi import Request

from services.contracts import ids
from services.contracts.ids import CallId, InvalidIdError, TenantId
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.core import origins
from services.signaling.core.origins import Own
from services.signaling.core.tenants import Tenant
from services.signaling.core.token import Rejection
from services.signaling.errors import ApiError, no_such_call, unauthorized
from services.signaling.grants import Grants, Redemption, TokenRejectedError
from services.signaling.limiter import Limiter
from services.signaling.tenants_file import TenantsFile


def own(request: Request) -> Own:
    """This door, as the request names it."""
    return Own(scheme=request.url.scheme, host=request.headers.get("host", ""))


def bearer_or_none(request: Request) -> str | None:
    """The key or token of the request."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who could make a call now: a tenant itself, or the holder of a token of its."""

    tenant: Tenant
    token: Redemption | None


@dataclass(frozen=True, slots=True)
class Authority:
    """Decides who may do what, and how often."""

    tenants: TenantsFile
    grants: Grants
    limiter: Limiter

    def bearer(self, request: Request) -> str:
        """The key or token of the request.

        Raises:
            ApiError: 401, there is none; 429, that happens too often.
        """
        value = bearer_or_none(request)
        if value is None:
            raise self.rejected(request, "missing")
        return value

    def rejected(self, request: Request, reason: str) -> ApiError:
        """Count why, and say nothing but that there are too many.

        A good key or token never comes here, so nobody suffers from a neighbour at the same address.
        """
        metrics.TOKENS_REJECTED.labels(reason).inc()
        try:
            self.limiter.stranger(request)
        except ApiError as too_many:
            return too_many
        return unauthorized()

    def tenant_of_key(self, request: Request) -> Tenant | None:
        """The tenant, if the request carries a tenant's key and comes from where that tenant allows."""
        found = self.tenants.current().by_key(self.bearer(request))
        if found is not None:
            self.check_origin(request, found)
        return found

    def tenant(self, request: Request) -> Tenant:
        """The tenant whose key the request carries.

        Raises:
            ApiError: 401, or 403 for an origin that the tenant does not allow.
        """
        found = self.tenant_of_key(request)
        if found is None:
            raise self.rejected(request, "key")
        return found

    async def admit(self, request: Request, call: CallId) -> Admitted:
        """Turn away who could not make ``call`` now, before anything of the body is read. It redeems nothing.

        Raises:
            ApiError: 401, or 403 for an origin that the tenant does not allow.
        """
        tenant = self.tenant_of_key(request)
        if tenant is not None:
            return Admitted(tenant, None)
        try:
            planned = await self.grants.redeemable(self.bearer(request), call)
        except TokenRejectedError as exc:
            raise self.rejected(request, exc.reason) from None
        return Admitted(self.tenant_of_token(request, planned.record.tenant), planned)

    async def admit_offer(self, request: Request, call: CallId) -> Admitted:
        """The same for who sends an offer, which is counted.

        Raises:
            ApiError: 401, 403, or 429 for a tenant of whom too many offers come.
        """
        admitted = await self.admit(request, call)
        self.limiter.offer(admitted.tenant)
        return admitted

    def tenant_of_token(self, request: Request, tenant: TenantId) -> Tenant:
        """The tenant that a token was made for: gone from the file, its tokens are worth nothing.

        Raises:
            ApiError: 401, or 403 for an origin that the tenant does not allow.
        """
        found = self.tenants.current().by_id(tenant)
        if found is None:
            raise self.rejected(request, Rejection.TENANT_GONE)
        self.check_origin(request, found)
        return found

    @staticmethod
    def check_origin(request: Request, tenant: Tenant) -> None:
        """Hold a browser to the tenant's own list of origins.

        Raises:
            ApiError: 403.
        """
        origin = request.headers.get("origin")
        if origin and tenant.origins and not origins.allowed(origin, origins=tenant.origins, own=own(request)):
            raise ApiError(403, "This origin may not use this tenant's calls.", code="origin_not_allowed")

    async def call(self, request: Request, text: str) -> tuple[CallId, Tenant]:
        """The call that the request may hang up and read the usage of.

        Raises:
            ApiError: 401; 404 for a call that is unknown or another's.
        """
        tenant = self.tenant_of_key(request)
        if tenant is None:
            return await self._call_of_token(request, text)
        call = _call_id(text)
        if await self.grants.owner(call) != tenant.id:
            get_logger().warning("call_access_refused", call_id=call, tenant_id=tenant.id)
            raise no_such_call()
        return call, tenant

    async def _call_of_token(self, request: Request, text: str) -> tuple[CallId, Tenant]:
        try:
            call, tenant_id = await self.grants.afterlife(self.bearer(request))
        except TokenRejectedError as exc:
            raise self.rejected(request, exc.reason) from None
        tenant = self.tenant_of_token(request, tenant_id)
        if text != call:
            get_logger().warning("call_access_refused", call_id=call, tenant_id=tenant_id)
            raise no_such_call()
        return call, tenant


def _call_id(text: str) -> CallId:
    try:
        return ids.call_id(text)
    except InvalidIdError:
        raise no_such_call() from None
