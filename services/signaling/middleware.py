"""ASGI middleware: request metrics, CORS and headers, and the catch-all error handler."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime import clock
from services.runtime.http.apps import closed_by
from services.runtime.telemetry.logging import get_logger
from services.signaling import errors, metrics
from services.signaling.auth import own
from services.signaling.core import origins
from services.signaling.errors import ApiError
from services.signaling.grants import GrantsUnavailableError

_API = "/v1/"
_METHODS = "DELETE, GET, PATCH, POST"
_EXPOSED = "Accept-Patch, Accept-Post, ETag, Link, Location, Retry-After"
"""Response headers that a browser client must be able to read: `Location` has the call id, `ETag` is for restarts."""
_REQUEST_HEADER = re.compile(
    r"(?:authorization|content-type|if-match|x-openai-agents-sdk|x-stainless-[a-z-]+|openai-[a-z-]+)\Z"
)
"""Request headers that browser clients of the Realtime API and of WHIP send."""
_PREFLIGHT_S = 600


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """Count and time every request by its route template."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = clock.monotonic()
        code = "none"

        async def measure(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = str(message["status"])
                MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            await self.app(scope, receive, measure)
        finally:
            closed = closed_by(scope)
            if closed is not None:  # the client closed the connection before the response
                code = str(closed.status)
            route = getattr(scope.get("route"), "path", None) or "none"
            metrics.REQUESTS.labels(route, code).inc()
            metrics.REQUEST_SECONDS.labels(route).observe(clock.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Cors:
    """CORS for the allowed origins."""

    app: ASGIApp
    allowed_origins: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or not scope["path"].startswith(_API):
            await self.app(scope, receive, send)
            return
        if not origins.allowed(origin, origins=self.allowed_origins, own=own(Request(scope))):
            refusal = ApiError(403, "This origin may not use the API (ALLOWED_ORIGINS).", code="origin_not_allowed")
            await refusal.response()(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._allow(MutableHeaders(scope=message), origin)
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(headers)(scope, receive, add)
        else:
            await self.app(scope, receive, add)

    def _allow(self, headers: MutableHeaders, origin: str) -> None:
        headers["Access-Control-Allow-Origin"] = origins.ANY if origins.ANY in self.allowed_origins else origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        headers.add_vary_header("Origin")

    @staticmethod
    def _preflight(headers: Headers) -> Response:
        asked = {name.strip().lower() for name in headers.get("access-control-request-headers", "").split(",")}
        standard = {"authorization", "content-type", "x-openai-agents-sdk"}
        allowed = sorted(standard | {name for name in asked if _REQUEST_HEADER.match(name)})
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": ", ".join(allowed),
                "Access-Control-Max-Age": str(_PREFLIGHT_S),
            },
        )


@dataclass(frozen=True, slots=True)
class CatchAllHandler:
    """Answer an unexpected exception with the API's error object and 500, and log it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            raise  # a fault of the client: the listener logs it
        except GrantsUnavailableError as exc:
            get_logger().warning("grants_unavailable", error=str(exc))
            error = errors.unavailable("The gateway's NATS server does not answer. Try again.", "bus_unavailable")
        except Exception:  # noqa: BLE001 - the outermost handler: the client gets a 500, the log the reason
            get_logger().exception("request_failed", path=scope["path"])
            error = errors.internal()
        else:
            return
        if not started:
            await error.response()(scope, receive, send)
