"""Signaling as it is deployed: a process of its own behind a socket."""

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
from services.runtime.bus import Bus
from services.runtime.streams import ensure_placed_stream


@asynccontextmanager
async def signaling(
    *, log: list[bytes] | None = None, **settings: object
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The process as it is deployed; gives its URL. What it logs is in ``log`` when the block has ended."""
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


async def media_heard(bus: Bus, url: str) -> None:
    """Let a media process be heard and wait until it was."""
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
