"""What every request passes: measuring, origins, headers, and the last net under all handlers."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime import clock
from services.runtime.httpapps import closed_by
from services.runtime.logging import get_logger
from services.signaling import errors, metrics
from services.signaling.auth import own
from services.signaling.core import origins
from services.signaling.errors import ApiError
from services.signaling.grants import GrantsUnavailableError

_API = "/v1/"
_METHODS = "DELETE, GET, PATCH, POST"
_EXPOSED = "Accept-Patch, Accept-Post, ETag, Link, Location, Retry-After"
"""What a client in a browser needs to read: without Location it has no call id, without ETag no ICE restart."""
_REQUEST_HEADER = re.compile(
    r"(?:authorization|content-type|if-match|x-openai-agents-sdk|x-stainless-[a-z-]+|openai-[a-z-]+)\Z"
)
"""What the provider's own browser clients and those of WHIP send."""
_PREFLIGHT_S = 600


@dataclass(frozen=True, slots=True)
class Measured:
    """Counts and times every request by its route's template."""

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
            if closed is not None:  # whatever was answered, the client has not got it
                code = str(closed.status)
            route = getattr(scope.get("route"), "path", None) or "none"
            metrics.REQUESTS.labels(route, code).inc()
            metrics.REQUEST_SECONDS.labels(route).observe(clock.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Cors:
    """Lets allowed origins use the API from a browser, and nobody else's page."""

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
                self._open(MutableHeaders(scope=message), origin)
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(headers)(scope, receive, add)
        else:
            await self.app(scope, receive, add)

    def _open(self, headers: MutableHeaders, origin: str) -> None:
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
class LastNet:
    """Turns what no handler expected into an answer in the error shape, and a log line."""

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
            raise  # no fault of ours: the listener logs it
        except GrantsUnavailableError as exc:
            get_logger().warning("grants_unavailable", error=str(exc))
            error = errors.unavailable("The gateway's NATS server does not answer. Try again.", "bus_unavailable")
        except Exception:  # noqa: BLE001 - the edge of a request: the client gets an answer, the log the reason
            get_logger().exception("request_failed", path=scope["path"])
            error = errors.internal()
        else:
            return
        if not started:
            await error.response()(scope, receive, send)
