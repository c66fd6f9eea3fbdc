"""`/healthz`: the loop turns. `/readyz`: takes new calls. `/metrics`: Prometheus."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@dataclass(slots=True)
class Health:
    """Whether this process takes new work. A reason in ``blocked_by``, or a check that fails, makes it unready."""

    blocked_by: set[str] = field(default_factory=lambda: {"starting"})
    checks: dict[str, Callable[[], bool]] = field(default_factory=dict)
    """By reason: what must be true now, such as a connection that comes and goes."""

    @property
    def reasons(self) -> list[str]:
        """All reasons against new work."""
        return sorted(self.blocked_by | {reason for reason, fine in self.checks.items() if not fine()})

    @property
    def ready(self) -> bool:
        """No reason against new work."""
        return not self.reasons


def add_routes(app: FastAPI, health: Health) -> None:
    """Give ``app`` the three endpoints that every service has."""

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
    """An HTTP application for a service that serves nothing else."""
    app = FastAPI(openapi_url=None)
    add_routes(app, health)
    return app
