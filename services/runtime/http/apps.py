"""ASGI wrappers: log requests that the application did not answer, and refuse requests on a full server."""

import contextlib
from collections.abc import MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from services.runtime.http import head
from services.runtime.http.head import Refusal
from services.runtime.telemetry import metrics
from services.runtime.telemetry.logging import get_logger

CLOSED = "hushgate.closed"
"""Key in the state of a request that the application will not answer: the `Refusal` that says why."""
CLIENT_GONE = Refusal("client_gone", 499, "")  # nginx's status; no client is left to read the answer
BUSY = {refusal.reason: refusal for refusal in (head.BUSY, head.ADDRESS_BUSY)}
_PROBES = frozenset({"/healthz", "/metrics", "/readyz"})
"""Always answered: a restart policy or monitor must not treat a full process as a dead one."""


class RefusalLogger:
    """Logs each request that the application did not answer; otherwise passes everything through."""

    def __init__(self, app: ASGI3Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle one request."""
        with contextlib.suppress(ClientDisconnect):
            await self._app(scope, receive, send)
        closed = closed_by(scope)
        if closed is not None and scope["type"] == "http":
            get_logger().info(
                "request_cut_off",
                status=closed.status,
                reason=closed.reason,
                method=scope["method"],
                path=scope["path"],
            )


def closed_by(scope: MutableMapping[str, Any] | Scope) -> Refusal | None:
    """Why the application does not answer this client; None: it does."""
    found = scope.get("state", {}).get(CLOSED)
    return found if isinstance(found, Refusal) else None


class RefuseAll:
    """Answers probes, and refuses every other request."""

    def __init__(self, app: ASGI3Application, refusal: Refusal) -> None:
        self._app = app
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        metrics.HTTP_REFUSED.labels(self._refusal.reason).inc()
        head, _, body = self._refusal.answer().partition(b"\r\n\r\n")
        fields: list[Any] = [tuple(line.split(b": ", 1)) for line in head.split(b"\r\n")[1:]]
        await send({"type": "http.response.start", "status": self._refusal.status, "headers": fields})
        await send({"type": "http.response.body", "body": body, "more_body": False})
