"""`/v1/usage` and `/v1/calls/{call_id}/usage`: usage and its cost, forwarded from metering."""

from dataclasses import dataclass

from fastapi import FastAPI, Request, Response

from services.signaling.auth import Authority
from services.signaling.metering_client import UsageSource


@dataclass(frozen=True, slots=True)
class Usage:
    """Handlers of the usage endpoints."""

    authority: Authority
    source: UsageSource

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to ``app``."""
        app.add_api_route("/v1/calls/{call_id}/usage", self.of_call, methods=["GET"], response_model=None)
        app.add_api_route("/v1/usage", self.of_tenant, methods=["GET"], response_model=None)

    async def of_call(self, request: Request, call_id: str) -> Response:
        """Return usage and cost of one call."""
        call, tenant = await self.authority.authorize_call(request, call_id)
        return await self.source.of_call(call, tenant.id)

    async def of_tenant(self, request: Request) -> Response:
        """Return usage and cost of the tenant in a period."""
        tenant = self.authority.tenant(request)
        period = {name: request.query_params[name] for name in ("from", "to") if name in request.query_params}
        return await self.source.of_tenant(tenant.id, period)
