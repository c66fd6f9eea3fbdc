"""`/healthz`: the event loop runs. `/readyz`: accepts new calls. `/metrics`: Prometheus."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@dataclass(slots=True)
class Health:
    """Whether this process accepts new work. A reason in ``blocked_by``, or a check that fails, makes it unready."""

    blocked_by: set[str] = field(default_factory=lambda: {"starting"})
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """Checks by reason: each must return true now, such as a connection being up."""

    @property
    def reasons(self) -> list[str]:
        """All reasons why new work is refused."""
        return sorted(self.blocked_by | {reason for reason, fine in self.checks.items() if not fine()})

    @property
    def ready(self) -> bool:
        """Whether there is no reason to refuse new work."""
        return not self.reasons


def add_routes(app: FastAPI, health: Health) -> None:
    """Add the three endpoints that every service has."""

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        if health.ready:
            return Response("ready\n", media_type="text/plain")
        return Response(f"not ready: {', '.join(health.reasons)}\n", 503, media_type="text/plain")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def health_app(health: Health) -> FastAPI:
    """An HTTP application for a service without other routes."""
    app = FastAPI(openapi_url=None)
    add_routes(app, health)
    return app
