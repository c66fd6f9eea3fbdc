"""Client of metering's internal usage API; signaling is the only public service, so it forwards the answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from fastapi.responses import JSONResponse

from services.contracts.ids import CallId, TenantId
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.errors import ApiError, no_such_call, unavailable

_OK, _NOT_FOUND = 200, 404
_REFUSED = frozenset({400, 422})
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class UsageSource:
    """Metering's internal usage API; answers 503 if no URL is configured."""

    client: httpx.AsyncClient
    configured: bool

    async def of_call(self, call: CallId, tenant: TenantId) -> JSONResponse:
        """Return metering's answer about the usage of a call.

        Raises:
            ApiError: 404 for a call that is not in the ledger, 503 when metering does not answer.
        """
        return await self._get(f"/internal/v1/calls/{call}/usage", {"tenant": tenant})

    async def of_tenant(self, tenant: TenantId, period: Mapping[str, str]) -> JSONResponse:
        """Return metering's answer about the usage of a tenant; ``period``: `from` and `to` as the client sent them.

        Raises:
            ApiError: 400 for an invalid period, 503 when metering does not answer.
        """
        return await self._get("/internal/v1/usage", {"tenant": tenant, **period})

    async def _get(self, path: str, query: Mapping[str, str]) -> JSONResponse:
        if not self.configured:
            raise _no_usage("not_configured", "SIGNALING_METERING_URL is not set.")
        try:
            reply = await self.client.get(path, params=dict(query))
            body = reply.json()
        except httpx.HTTPError as exc:
            get_logger().warning("metering_unreachable", error=type(exc).__name__)
            raise _no_usage(
                "unreachable", "Metering cannot be reached. The call and its usage are not affected."
            ) from exc
        except ValueError as exc:
            raise _no_usage("malformed", "Metering gave an answer that cannot be read.") from exc
        return _forwarded(reply.status_code, body)


def _forwarded(status: int, body: object) -> JSONResponse:
    if status == _OK:
        return JSONResponse(body, headers={"Cache-Control": "no-store"})
    if status == _NOT_FOUND:
        raise no_such_call()
    if status in _REFUSED:
        raise ApiError(
            400,
            "from and to must be ISO 8601 times between 1970 and 9999, from before to.",
            code="invalid_period",
            param="from",
        )
    get_logger().warning("metering_refused", status=status)
    raise _no_usage("refused", "Metering refused the question. Check SIGNALING_METERING_TOKEN and metering's log.")


def _no_usage(reason: str, what: str) -> ApiError:
    metrics.METERING_ERRORS.labels(reason).inc()
    return unavailable(f"Usage is not available now: {what}", "usage_unavailable")
