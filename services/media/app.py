"""Where the parts of a media process meet."""

import asyncio
import gc

from services.contracts.ids import ProcessId
from services.media.core.detector import DETECTORS
from services.media.heartbeat import Pulse
from services.media.history import History
from services.media.leg import Answerer
from services.media.pool import Pool, PoolConfig
from services.media.rtc.answerer import WebRtcAnswerer
from services.media.rtc.stack import StackConfig, open_stack
from services.media.settings import MediaSettings
from services.media.usage import Meters
from services.runtime.bus import Bus
from services.runtime.health import health_app
from services.runtime.http import serve_http
from services.runtime.logging import get_logger
from services.runtime.outbox import Outbox, OutboxTiming
from services.runtime.process import Process
from services.runtime.streams import ensure_calls_stream, ensure_usage_stream


async def serve(bus: Bus, settings: MediaSettings, process: Process) -> None:
    """Carry calls until the process is told to stop, then let them finish."""
    stack_config = StackConfig(
        advertised=settings.addresses,
        port=settings.first_udp_port,
        everywhere=settings.udp_everywhere,
        lost_s=settings.lost_after_s,
        gone_s=settings.gone_after_s,
        encoder=settings.encoder,
    )
    with open_stack(stack_config) as stack:
        mux = stack.mux
        get_logger().info(
            "media_address", advertised=[host for host, _ in mux.addresses], port=mux.port, bound=mux.bound
        )
        await _serve(bus, settings, process, WebRtcAnswerer(stack))


async def _serve(bus: Bus, settings: MediaSettings, process: Process, answerer: Answerer) -> None:
    await ensure_usage_stream(bus.jetstream, store_mb=bus.store_mb)
    await ensure_calls_stream(bus.jetstream, store_mb=bus.store_mb)
    path = settings.data_dir / f"outbox-media-{settings.process_id}.sqlite"
    async with (
        Outbox.open(path, bus=bus, timing=OutboxTiming(settle_s=settings.settle_timeout_s)) as outbox,
        serve_http(health_app(process.health), host=settings.http_host, port=settings.http_port) as url,
    ):
        meters = Meters(outbox, process.health)
        await _carry_calls(bus, settings, process, answerer=answerer, meters=meters, url=url)


def _calm_garbage_collection() -> None:
    """Collect less often: frames leave no garbage behind, and a full collection walks the objects of all calls.

    With Python's own thresholds it took 8 % of a busy process in one profile.
    """
    gc.collect()
    gc.freeze()  # what was made by now stays until the end
    gc.set_threshold(20_000, 20, 20)


async def _carry_calls(
    bus: Bus, settings: MediaSettings, process: Process, *, answerer: Answerer, meters: Meters, url: str
) -> None:
    config = PoolConfig(
        process=ProcessId(settings.process_id),
        capacity=settings.max_calls,
        gate=settings.gate,
        detector=lambda: DETECTORS[settings.vad](settings.detector),
    )
    async with asyncio.TaskGroup() as group:
        pool = Pool(
            config, bus=bus, answerer=answerer, history=History(bus), meters=meters, group=group, tracer=process.tracer
        )
        pulse = Pulse(pool, config, bus=bus, zone=settings.zone, http_url=url)
        await pool.open()
        always = [
            group.create_task(pulse.keep_beating(), name="heartbeat"),
            group.create_task(meters.keep_writing(pool.calls), name="usage"),
        ]
        _calm_garbage_collection()
        process.ready(url)
        await process.stopping.wait()
        pool.draining = True
        await pulse.beat()
        await pool.close(timeout_s=settings.drain_timeout_s)
        for task in always:
            task.cancel()
