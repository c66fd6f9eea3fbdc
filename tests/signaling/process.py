"""Signaling as deployed: a separate process behind a socket."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from services.contracts import subjects
from services.contracts.ids import ProcessId
from services.contracts.messages import Heartbeat
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import ensure_placed_stream


@asynccontextmanager
async def signaling(
    *, log: list[bytes] | None = None, **settings: object
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run signaling and yield its URL and process; its output is in ``log`` after the block."""
    if "nats_url" in settings:  # metering's part
        async with Bus.connect(str(settings["nats_url"]), name="metering") as bus:
            await ensure_placed_stream(bus.jetstream)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.signaling",
        env={f"SIGNALING_{name.upper()}": str(value) for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            async for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "service_ready":
                    yield event["http_url"], process
                    break
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        rest, _ = await process.communicate()
        if log is not None:
            log.extend(rest.splitlines())


async def media_heartbeat_received(bus: Bus, url: str) -> None:
    """Publish heartbeats of a media process until signaling has received one."""
    beat = Heartbeat(
        process=ProcessId("media-0"),
        version="0",
        draining=False,
        active=0,
        reserved=0,
        capacity=10,
        loop_lag_ms=0,
        http_url="http://127.0.0.1:1",
    )
    await bus.publish(subjects.heartbeat(beat.process), beat)
    await bus.flush()
    async with asyncio.timeout(5), httpx.AsyncClient() as client:
        while "hushgate_media_processes 1.0" not in (await client.get(f"{url}/metrics")).text:
            await bus.flush()
