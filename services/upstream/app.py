"""Build an upstream worker from its settings and run it."""

import asyncio

from services.contracts.ids import WorkerId
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import leases_bucket, rates_bucket
from services.runtime.http.server import serve_http
from services.runtime.outbox.outbox import Outbox, OutboxTiming
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.process.health import health_app
from services.runtime.process.runner import Process
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics
from services.upstream.connectors.base import Connector
from services.upstream.connectors.registry import connector
from services.upstream.settings import UpstreamSettings
from services.upstream.tenant_rates import TenantRates
from services.upstream.worker import Worker, WorkerConfig


async def serve(bus: Bus, settings: UpstreamSettings, process: Process) -> None:
    """Own calls until ``process.stopping`` is set, then drain them for at most the drain timeout."""
    wire = connector(settings.provider, url=settings.url, key=settings.secret("api_key"))
    if settings.probe:
        await probe(wire, settings.model)
    path = settings.data_dir / f"outbox-upstream-{settings.process_id}.sqlite"
    timing = OutboxTiming(settle_s=settings.settle_timeout_s)
    async with (
        Outbox.open(path, bus=bus, role="upstream", process=settings.process_id, timing=timing) as outbox,
        serve_http(health_app(process.health), host=settings.http_host, port=settings.http_port) as url,
        asyncio.TaskGroup() as group,
    ):
        rates = TenantRates(await rates_bucket(bus.jetstream, store_mb=bus.store_mb), group)
        worker = Worker(
            WorkerConfig(
                worker=WorkerId(settings.process_id),
                provider=settings.provider,
                model=settings.model,
                capacity=settings.max_sessions,
                eager_waste_percent=settings.eager_waste_percent,
            ),
            bus=bus,
            leases=await leases_bucket(bus.jetstream, store_mb=bus.store_mb),
            connector=wire,
            usage=UsageWriter(outbox, process.health, failures=metrics.USAGE_FAILED),
            group=group,
            rates=rates,
            tracer=process.tracer,
        )
        await worker.start()
        process.ready(url)
        await process.stopping.wait()
        await worker.close(timeout_s=settings.drain_timeout_s)
        rates.close()


async def probe(wire: Connector, model: str) -> None:
    """Open one session with the provider and close it.

    Raises:
        UpstreamError: the session does not open; the message says what to do.
    """
    async with wire.connect(model):
        get_logger().info("provider_answers", model=model)
