"""Runs a service process: settings, logs, signals, bus, exit code."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.errors import HushgateError, SettingsError
from services.runtime.process.health import Health
from services.runtime.process.settings import ServiceSettings, load
from services.runtime.process.version import installed_version
from services.runtime.telemetry import metrics
from services.runtime.telemetry.logging import configure, get_logger
from services.runtime.telemetry.tracing import Tracer

EXIT_FAILED = 1
EXIT_STUCK = 70
_LAG_NAP_S = 0.25
_PRIVATE = 0o077
"""The umask: ledger, outboxes and other files of a service are readable by its user alone."""

S = TypeVar("S", bound=ServiceSettings)


@dataclass(slots=True)
class Process:
    """What a service's `serve` gets from the runner: shutdown event, health, tracer."""

    role: str
    health: Health = field(default_factory=Health)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by SIGTERM or SIGINT: accept no new work, finish the rest, return from `serve`."""
    tracer: Tracer = field(default_factory=Tracer)
    """Records nothing unless a collector is configured."""

    def ready(self, http_url: str) -> None:
        """Report readiness: `/readyz` answers 200, and `service_ready` is logged with the URL for `hushgate up`."""
        self.health.blocked_by.discard("starting")
        get_logger().info("service_ready", http_url=http_url)


async def _watch_lag(role: str) -> None:
    gauge, tasks = metrics.LOOP_LAG.labels(role), metrics.TASKS.labels(role)
    while True:
        due = clock.monotonic() + _LAG_NAP_S
        await asyncio.sleep(_LAG_NAP_S)
        gauge.set(max(0.0, clock.monotonic() - due))
        tasks.set(len(asyncio.all_tasks()))


def _catch_signals(process: Process, kill_after_s: float) -> None:
    def stop() -> None:
        if process.stopping.is_set():
            return
        process.health.blocked_by.add("draining")
        process.stopping.set()
        get_logger().info("service_stopping")
        # A loop that hangs during shutdown must end before the pod's grace period, with a log line.
        watchdog = threading.Timer(kill_after_s, os._exit, args=(EXIT_STUCK,))
        watchdog.daemon = True
        watchdog.start()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


async def _supervise(process: Process, work: Callable[[Process], Awaitable[None]], kill_after_s: float) -> None:
    _catch_signals(process, kill_after_s)
    lag = asyncio.create_task(_watch_lag(process.role), name="loop-lag")
    try:
        await work(process)
    finally:
        lag.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lag


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard limit: each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    get_logger().info("file_limit_raised", before=soft, now=hard)


def run(
    role: str,
    settings_type: type[S],
    work: Callable[[S, Process], Awaitable[None]],
    *,
    kill_after_s: Callable[[S], float] = lambda _: 10.0,
) -> int:
    """Run a service without a bus until a signal; returns the exit code.

    ``kill_after_s``: seconds after the signal at which a process that still runs ends itself with exit code 70.
    """
    try:
        settings = load(settings_type)
    except HushgateError as exc:
        sys.stderr.write(f"hushgate {role}: {exc}\n")
        return 2
    os.umask(_PRIVATE)
    configure(service=role, log_format=settings.log_format, level=settings.log_level, secrets=settings.secret_values())
    raise_file_limit()
    process = Process(role)
    failed = False
    try:
        asyncio.run(_supervise(process, lambda p: work(settings, p), kill_after_s(settings)))
    except* HushgateError as group:
        for error in _leaves(group):
            get_logger().error("service_failed", error=str(error), reason=type(error).__name__)
        failed = True
    except* Exception:  # noqa: BLE001 - the edge of the process: a crash is one event in the log, too
        get_logger().exception("service_crashed")
        failed = True
    get_logger().info("service_stopped")
    return EXIT_FAILED if failed else 0


def _leaves(group: BaseExceptionGroup[HushgateError]) -> list[HushgateError]:
    found: list[HushgateError] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def with_bus(role: str, serve: Callable[[Bus, S, Process], Awaitable[None]]) -> Callable[[S, Process], Awaitable[None]]:
    """Wrap ``serve`` as work for `run`, connected to the bus while it runs."""

    async def work(settings: S, process: Process) -> None:
        name, login = f"{role}-{settings.process_id}", settings.nats_login()
        async with (
            _tracing(role, settings) as process.tracer,
            Bus.connect(
                settings.nats_url,
                name=name,
                login=login,
                wait_s=settings.nats_wait_s,
                store_mb=settings.nats_store_mb,
            ) as bus,
        ):
            await serve(bus, settings, process)

    return work


@asynccontextmanager
async def _tracing(role: str, settings: ServiceSettings) -> AsyncIterator[Tracer]:
    """Yield the service's tracer; the last spans are exported when the block ends.

    Raises:
        SettingsError: the library is not installed, or the headers file is invalid.
    """
    if not settings.otlp_endpoint:
        yield Tracer()
        return
    try:
        from services.runtime.telemetry import otlp  # noqa: PLC0415 - 0.3 s and 15 MB, only for those who want it
    except ModuleNotFoundError as exc:
        raise SettingsError(f"OTLP_ENDPOINT needs pip install 'hushgate[tracing]': no module {exc.name}") from exc
    resource = {
        "service.name": f"hushgate-{role}",
        "service.version": installed_version(),
        "service.instance.id": settings.process_id,
        "process.pid": str(os.getpid()),
    }
    exporter = otlp.open_exporter(settings.otlp_endpoint, headers=settings.otlp_headers(), resource=resource)
    get_logger().info("traces_on", collector=settings.otlp_endpoint, ratio=settings.otlp_sample_ratio)
    try:
        yield Tracer(exporter, settings.otlp_sample_ratio)
    finally:
        await asyncio.to_thread(exporter.close)


def run_with_bus(
    role: str,
    settings_type: type[S],
    serve: Callable[[Bus, S, Process], Awaitable[None]],
    *,
    kill_after_s: Callable[[S], float] = lambda _: 10.0,
) -> int:
    """Run a service on the bus until a signal; returns the exit code."""
    return run(role, settings_type, with_bus(role, serve), kill_after_s=kill_after_s)
