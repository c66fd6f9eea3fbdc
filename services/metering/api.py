"""Internal HTTP API: usage of calls and tenants. Signaling forwards its answers to the public API."""

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from services.contracts.ids import InvalidIdError, call_id, tenant_id
from services.metering.core.bill import BillBody
from services.metering.dialect import LedgerError
from services.metering.store import Ledger
from services.runtime import clock
from services.runtime.process.health import Health, add_routes
from services.runtime.telemetry.logging import get_logger

DEFAULT_PERIOD = timedelta(days=30)
_FIRST_YEAR = 1970  # earlier than any call, and the default period before it is still a valid date


class _RequestRefusedError(Exception):
    """An error response."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def make_app(ledger: Ledger, *, token: str, health: Health) -> FastAPI:
    """Return the HTTP application; with an empty ``token`` requests need no authentication."""
    app = FastAPI(openapi_url=None)
    add_routes(app, health)
    app.add_exception_handler(_RequestRefusedError, _refusal)
    app.add_exception_handler(InvalidIdError, _not_found)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(LedgerError, _unavailable)

    async def authorized(authorization: Annotated[str, Header()] = "") -> None:
        if token and not secrets.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise _RequestRefusedError(401, "unauthorized", "the bearer token is not METERING_API_TOKEN")

    only_with_token = [Depends(authorized)]

    @app.get("/internal/v1/calls/{call}/usage", dependencies=only_with_token)
    async def usage_of_call(call: str, tenant: str) -> JSONResponse:
        found = await asyncio.to_thread(ledger.call_usage, tenant_id(tenant), call_id(call))
        if found is None:
            raise _unknown()
        return _answer(found)

    @app.get("/internal/v1/usage", dependencies=only_with_token)
    async def usage_of_tenant(
        tenant: str, from_: Annotated[str, Query(alias="from")] = "", to: str = ""
    ) -> JSONResponse:
        end = _time(to) if to else clock.utc_now()
        start = _time(from_) if from_ else end - DEFAULT_PERIOD
        if start > end:
            raise _RequestRefusedError(400, "invalid_period", "from is later than to")
        return _answer(await asyncio.to_thread(ledger.tenant_usage, tenant_id(tenant), start, end))

    return app


def _answer(content: BillBody) -> JSONResponse:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def _unknown() -> _RequestRefusedError:
    return _RequestRefusedError(404, "not_found", "this tenant has no such call")


def _time(text: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
        at = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _invalid_time() from None
    if at.year < _FIRST_YEAR:
        raise _invalid_time()
    return at


def _invalid_time() -> _RequestRefusedError:
    example = "as 2026-01-31 or 2026-01-31T12:00:00Z"
    return _RequestRefusedError(
        400, "invalid_period", f"from and to are ISO 8601, {example}, from {_FIRST_YEAR} to 9999"
    )


async def _refusal(_request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, _RequestRefusedError):  # FastAPI calls this handler only for that class
        raise exc
    return JSONResponse({"error": {"message": str(exc), "code": exc.code}}, exc.status)


async def _not_found(request: Request, _exc: Exception) -> JSONResponse:
    return await _refusal(request, _unknown())


async def _bad_request(request: Request, _exc: Exception) -> JSONResponse:
    return await _refusal(request, _RequestRefusedError(400, "invalid_request", "tenant is missing"))


async def _unavailable(request: Request, exc: Exception) -> JSONResponse:
    get_logger().error("ledger_unreadable", reason="database", error=str(exc))
    return await _refusal(request, _RequestRefusedError(503, "ledger_unavailable", "the ledger cannot be read now"))
