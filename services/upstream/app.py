"""Where the parts of an upstream worker meet."""

import asyncio

from services.contracts.ids import WorkerId
from services.runtime.bus import Bus
from services.runtime.health import health_app
from services.runtime.http import serve_http
from services.runtime.logging import get_logger
from services.runtime.outbox import Outbox, OutboxTiming
from services.runtime.process import Process
from services.runtime.streams import ensure_usage_stream, leases_bucket
from services.upstream.connectors.base import Connector
from services.upstream.connectors.registry import connector
from services.upstream.settings import UpstreamSettings
from services.upstream.worker import Worker, WorkerConfig


async def serve(bus: Bus, settings: UpstreamSettings, process: Process) -> None:
    """Own calls until the process is told to stop, then let them finish."""
    wire = connector(settings.provider, url=settings.url, key=settings.secret("api_key"))
    if settings.probe:
        await probe(wire, settings.model)
    await ensure_usage_stream(bus.jetstream, store_mb=bus.store_mb)
    path = settings.data_dir / f"outbox-upstream-{settings.process_id}.sqlite"
    async with (
        Outbox.open(path, bus=bus, timing=OutboxTiming(settle_s=settings.settle_timeout_s)) as outbox,
        serve_http(health_app(process.health), host=settings.http_host, port=settings.http_port) as url,
        asyncio.TaskGroup() as group,
    ):
        worker = Worker(
            WorkerConfig(
                worker=WorkerId(settings.process_id),
                provider=settings.provider,
                model=settings.model,
                capacity=settings.max_sessions,
            ),
            bus=bus,
            leases=await leases_bucket(bus.jetstream, store_mb=bus.store_mb),
            connector=wire,
            sink=outbox,
            health=process.health,
            group=group,
            tracer=process.tracer,
        )
        await worker.open()
        process.ready(url)
        await process.stopping.wait()
        await worker.close(timeout_s=settings.drain_timeout_s)


async def probe(wire: Connector, model: str) -> None:
    """Open one session and close it.

    Raises:
        UpstreamError: it does not open; the message says what to do.
    """
    async with wire.connect(model):
        get_logger().info("provider_answers", model=model)
