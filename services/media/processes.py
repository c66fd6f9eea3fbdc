"""Several media processes as one pod: a parent that starts them, speaks for them and starts again what dies.

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
from services.media.core.exposition import merge
from services.media.settings import MediaSettings
from services.runtime.child import Child, ChildFailedError, ChildSpec
from services.runtime.health import Health
from services.runtime.http import serve_http
from services.runtime.logging import get_logger, renderer
from services.runtime.process import Process

STOP_MARGIN_S = 15.0
"""What a child may take to end after its drain; longer, and it is killed."""
_ASK_TIMEOUT_S = 1.0
_OWN_METRICS = (
    "hushgate_media_process_deaths_total",
    "hushgate_event_loop_lag_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
)


@dataclass(frozen=True, slots=True)
class _Log:
    """Writes what children log into the log of the parent, in its format."""

    settings: MediaSettings

    def event(self, child: str, event: Mapping[str, Any], /) -> None:
        write = renderer(self.settings.log_format, colours=sys.stdout.isatty())
        sys.stdout.write(str(write(None, "", {**event, "process": child})) + "\n")
        sys.stdout.flush()

    def say(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        get_logger().log(_LEVELS[level], event, **fields)


_LEVELS = {"info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True)
class Pod:
    """What the parent says of its children. Each is asked, for only it knows."""

    children: Sequence[Child]
    health: Health
    client: httpx.AsyncClient

    async def live(self) -> list[str]:
        """The running children that do not answer. One that died is none of them: it is being started again."""
        answers = await self._ask("/healthz")
        return [name for name, answer in answers.items() if answer is None or not answer.is_success]

    async def ready(self) -> bool:
        """Whether the pod takes new calls: all children were ready once, none was told to stop, and one takes calls."""
        answers = await self._ask("/readyz")
        return self.health.ready and any(answer is not None and answer.is_success for answer in answers.values())

    async def metrics(self) -> str:
        """The metrics of all, each sample with the number of its process."""
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
        """The HTTP application: the three endpoints that every service has."""
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
    """What the children are told; all else they inherit.

    The parent is nobody on the bus. Its NATS_USER and NATS_PASSWORD_FILE name its children's, each with its number
    behind: child 1 is `<user>-1`, and its password lies in `<file>-1`.
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
    """How long a child may take from SIGTERM to its end."""
    return settings.drain_timeout_s + settings.settle_timeout_s + STOP_MARGIN_S


async def supervise(settings: MediaSettings, process: Process) -> None:
    """Run the children until told to stop, then let all drain.

    Raises:
        ChildFailedError: one does not start, or ended otherwise than it should.
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
    """Start all side by side; False: told to stop meanwhile."""
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
