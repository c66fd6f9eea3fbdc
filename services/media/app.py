"""Wires the parts of a media process together."""

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

from services.contracts.connect import WEBRTC
from services.contracts.ids import ProcessId
from services.media import metrics
from services.media.call_records import CallRecords
from services.media.core.speech.detector import Detector
from services.media.detectors import open_detector
from services.media.heartbeat import HeartbeatPublisher
from services.media.key_checks import KeyChecks
from services.media.leg import Answerer
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from services.media.legs.webrtc.stack import StackConfig, open_stack
from services.media.pool import Pool, PoolConfig
from services.media.settings import MediaSettings
from services.media.speech_detection import SpeechDetection
from services.media.usage import UsageReporter
from services.runtime.bus.client import Bus
from services.runtime.http.server import serve_http
from services.runtime.outbox.outbox import Outbox, OutboxTiming
from services.runtime.outbox.usage_writer import UsageWriter
from services.runtime.process.health import health_app
from services.runtime.process.runner import Process
from services.runtime.telemetry.logging import get_logger

Answerers = Mapping[str, Answerer]


async def serve(bus: Bus, settings: MediaSettings, process: Process) -> None:
    """Carry calls until the process is asked to stop, then drain them."""
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
        await _serve(bus, settings, process, {WEBRTC: WebRtcAnswerer(stack)})


async def _serve(bus: Bus, settings: MediaSettings, process: Process, answerers: Answerers) -> None:
    path = settings.data_dir / f"outbox-media-{settings.process_id}.sqlite"
    timing = OutboxTiming(settle_s=settings.settle_timeout_s)
    async with (
        Outbox.open(path, bus=bus, role="media", process=settings.process_id, timing=timing) as outbox,
        serve_http(health_app(process.health), host=settings.http_host, port=settings.http_port) as url,
    ):
        usage = UsageReporter(UsageWriter(outbox, process.health, failures=metrics.USAGE_FAILED))
        await _carry_calls(bus, settings, process, answerers=answerers, usage=usage, url=url)


def _calm_garbage_collection() -> None:
    """Collect less often: frames leave no cyclic garbage, and a full collection traverses the objects of all calls.

    With Python's own thresholds it took 8 % of a busy process in one profile.
    """
    gc.collect()
    gc.freeze()  # objects allocated by now live until the process exits
    gc.set_threshold(20_000, 20, 20)


def _open_detector(settings: MediaSettings) -> Detector[Any]:
    chosen = settings.chosen_detector
    if chosen.lacks:
        get_logger().warning("detector", name=chosen.name, reason=chosen.lacks)
    else:
        get_logger().info("detector", name=chosen.name)
    return open_detector(chosen, settings.webrtc_detector)


async def _carry_calls(
    bus: Bus, settings: MediaSettings, process: Process, *, answerers: Answerers, usage: UsageReporter, url: str
) -> None:
    config = PoolConfig(
        process=ProcessId(settings.process_id),
        capacity=settings.max_calls,
        gate=settings.gate,
        detection=SpeechDetection(_open_detector(settings)),
        turns=settings.turns,
    )
    async with asyncio.TaskGroup() as group:
        pool = Pool(
            config,
            bus=bus,
            answerers=answerers,
            history=CallRecords(bus),
            usage=usage,
            group=group,
            tracer=process.tracer,
        )
        heartbeat = HeartbeatPublisher(pool, config, bus=bus, zone=settings.zone, http_url=url)
        key_checks = KeyChecks(pool, config.process, bus=bus, revoke_after_s=settings.revoke_after_s)
        await key_checks.subscribe()
        await pool.subscribe()
        always = [
            group.create_task(key_checks.keep_checking(), name="key checks"),
            group.create_task(heartbeat.keep_publishing(), name="heartbeat"),
            group.create_task(usage.keep_writing(pool.calls), name="usage"),
        ]
        _calm_garbage_collection()
        process.ready(url)
        await process.stopping.wait()
        pool.admission.draining = True
        await heartbeat.publish()
        await pool.close(timeout_s=settings.drain_timeout_s)
        for task in always:
            task.cancel()
