"""Several media processes as one pod: a parent that starts them, aggregates their endpoints and restarts them.

Python uses one core a process; a pod on a larger machine runs MEDIA_PROCESSES of them. Each child is a media process
like any other, with a name, a UDP port and a heartbeat of its own; the parent carries no calls and needs no bus.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from services.media import metrics
from services.media.settings import MediaSettings
from services.runtime.http.server import serve_http
from services.runtime.process.child import Child, ChildFailedError, ChildSpec
from services.runtime.process.health import Health
from services.runtime.process.runner import Process
from services.runtime.telemetry.exposition import merge
from services.runtime.telemetry.logging import get_logger, renderer

STOP_MARGIN_S = 15.0
"""How long a child may take to exit after its drain before it is killed."""
_ASK_TIMEOUT_S = 1.0
_OWN_METRICS = (
    "hushgate_media_process_deaths_total",
    "hushgate_event_loop_lag_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
)


@dataclass(frozen=True, slots=True)
class _Log:
    """Writes the log events of children to the parent's log, in its format."""

    settings: MediaSettings

    def write_child_event(self, child: str, event: Mapping[str, Any], /) -> None:
        write = renderer(self.settings.log_format, colours=sys.stdout.isatty())
        sys.stdout.write(str(write(None, "", {**event, "process": child})) + "\n")
        sys.stdout.flush()

    def write_event(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        get_logger().log(_LEVELS[level], event, **fields)


_LEVELS = {"info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True)
class Pod:
    """The health, readiness and metrics of a pod, requested from each child."""

    children: Sequence[Child]
    health: Health
    client: httpx.AsyncClient

    async def live(self) -> list[str]:
        """Return the running children that do not answer; one that exited is being restarted and does not count."""
        answers = await self._ask("/healthz")
        return [name for name, answer in answers.items() if answer is None or not answer.is_success]

    async def ready(self) -> bool:
        """Whether the pod accepts calls: all children were ready once, none is stopping, and one accepts calls."""
        answers = await self._ask("/readyz")
        return self.health.ready and any(answer is not None and answer.is_success for answer in answers.values())

    async def metrics(self) -> str:
        """Return the exposition of all children, each sample labelled with the number of its process."""
        own = generate_latest(REGISTRY.restricted_registry(_OWN_METRICS)).decode()
        answers = await self._ask("/metrics")
        texts = {name.rpartition("-")[2]: answer.text for name, answer in answers.items() if answer is not None}
        return merge({"parent": own, **texts})

    async def _ask(self, path: str) -> dict[str, httpx.Response | None]:
        asked = [child for child in self.children if child.is_ready]
        answers = await asyncio.gather(*(self._get(child, path) for child in asked))
        return {child.spec.name: answer for child, answer in zip(asked, answers, strict=True)}

    async def _get(self, child: Child, path: str) -> httpx.Response | None:
        try:
            return await self.client.get(child.http_url + path)
        except httpx.HTTPError as exc:
            get_logger().warning(
                "child_silent", child=child.spec.name, asked=path.removeprefix("/"), reason=type(exc).__name__
            )
            return None

    def app(self) -> FastAPI:
        """Return the HTTP application with the three endpoints that every service has."""
        app = FastAPI(openapi_url=None)

        @app.get("/healthz")
        async def healthz() -> Response:
            silent = await self.live()
            return _text("ok" if not silent else f"silent: {', '.join(silent)}", fine=not silent)

        @app.get("/readyz")
        async def readyz() -> Response:
            ready = await self.ready()
            reasons = ", ".join(self.health.reasons) or "no process takes calls"
            return _text("ready" if ready else f"not ready: {reasons}", fine=ready)

        @app.get("/metrics")
        async def exposition() -> Response:
            return Response(await self.metrics(), media_type=CONTENT_TYPE_LATEST)

        return app


def _text(text: str, *, fine: bool) -> Response:
    return Response(f"{text}\n", 200 if fine else 503, media_type="text/plain")


def plan(settings: MediaSettings) -> list[ChildSpec]:
    """Return the environment and name of each child; everything else is inherited.

    The parent does not connect to the bus. Its NATS_USER and NATS_PASSWORD_FILE are the prefixes of its children's:
    child 1 is the user `<user>-1`, and its password is in `<file>-1`.
    """
    specs = []
    for number in range(settings.processes):
        name = f"{settings.process_id}-{number}"
        environment = {
            "MEDIA_PROCESSES": "1",
            "MEDIA_PROCESS_ID": name,
            "MEDIA_SLOT": "0",
            "MEDIA_UDP_PORT": str(settings.first_udp_port + number if settings.udp_port else 0),
            "MEDIA_HTTP_PORT": str(settings.http_port + 1 + number if settings.http_port else 0),
            "MEDIA_LOG_FORMAT": "json",
        }
        if settings.nats_user:  # each is a user of its own on the bus
            environment["MEDIA_NATS_USER"] = f"{settings.nats_user}-{number}"
            environment["MEDIA_NATS_PASSWORD_FILE"] = f"{settings.nats_password_file}-{number}"
        specs.append(ChildSpec(name, "media", environment, "MEDIA_HTTP_PORT"))
    return specs


def patience_s(settings: MediaSettings) -> float:
    """How long a child may take from SIGTERM to its exit."""
    return settings.drain_timeout_s + settings.settle_timeout_s + STOP_MARGIN_S


async def supervise(settings: MediaSettings, process: Process) -> None:
    """Run the children until the process is asked to stop, then drain all.

    Raises:
        ChildFailedError: one does not start, or exits with an error while draining.
    """
    log = _Log(settings)
    children = [Child(spec, log, on_death=metrics.PROCESS_DEATHS.inc) for spec in plan(settings)]
    async with httpx.AsyncClient(timeout=_ASK_TIMEOUT_S) as client:
        pod = Pod(children, process.health, client)
        async with serve_http(pod.app(), host=settings.http_host, port=settings.http_port) as url:
            try:
                if await _start(children, process.stopping):
                    process.ready(url)
                    await process.stopping.wait()
            finally:
                await asyncio.gather(*(child.stop(patience_s(settings)) for child in children))
    if failed := [child.spec.name for child in children if child.failed]:
        raise ChildFailedError(f"{', '.join(failed)}: it did not end as it should; its last lines in the log say why")


async def _start(children: Sequence[Child], stopping: asyncio.Event) -> bool:
    """Start all concurrently; False if the process was asked to stop meanwhile."""
    starting = asyncio.gather(*(child.start() for child in children))
    stop = asyncio.create_task(stopping.wait(), name="stopping")
    try:
        either: set[asyncio.Future[Any]] = {starting, stop}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        return starting.done()
    finally:
        stop.cancel()
        starting.cancel()
        await asyncio.gather(starting, stop, return_exceptions=True)
