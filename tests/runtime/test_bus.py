import asyncio
from pathlib import Path

import pytest

from services.contracts.ids import CallId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Done, Hangup
from services.runtime.bus.client import Bus
from services.runtime.errors import BusUnavailableError, NoRespondersError, RequestTimeoutError
from services.runtime.telemetry import tracing
from services.runtime.telemetry.tracing import LiveSpan, TraceContext
from services.up.nats_server import nats_server

CALL = CallId("rtc_" + "a" * 26)


async def test_a_request_is_answered(bus: Bus) -> None:
    async def handler(_: AnyMessage) -> Message:
        return Done()

    await bus.serve("hg.test", handler)
    assert await bus.request("hg.test", Hangup(call=CALL), timeout_s=2) == Done()


async def test_a_request_without_a_subscriber_fails_at_once(bus: Bus) -> None:
    with pytest.raises(NoRespondersError):
        await bus.request("hg.nobody", Done(), timeout_s=2)


async def test_a_request_that_is_not_answered_times_out(bus: Bus) -> None:
    async def handler(_: AnyMessage) -> Message:
        await asyncio.Event().wait()
        return Done()

    await bus.serve("hg.test", handler)
    with pytest.raises(RequestTimeoutError):
        await bus.request("hg.test", Done(), timeout_s=0.05)


async def test_messages_arrive_in_order(bus: Bus) -> None:
    got: list[bytes] = []
    done = asyncio.Event()

    def handler(_: str, data: bytes) -> None:
        got.append(data)
        if len(got) == 100:
            done.set()

    await bus.subscribe("hg.up.w.*", handler)
    for n in range(100):
        await bus.publish_bytes("hg.up.w.c", str(n).encode())
    async with asyncio.timeout(5):
        await done.wait()
    assert got == [str(n).encode() for n in range(100)]


async def test_no_server_is_one_clear_error() -> None:
    with pytest.raises(BusUnavailableError, match="start it"):
        async with Bus.connect("nats://127.0.0.1:1", name="test"):
            pass


async def test_a_bus_closes_even_when_its_server_is_down(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        async with Bus.connect(server.url, name="test") as bus:
            server.process.kill()
            await server.process.wait()
            with pytest.raises((NoRespondersError, RequestTimeoutError)):
                await bus.request("hg.nobody", Done(), timeout_s=0.5)
        assert not bus.connected


async def test_a_request_carries_its_trace_context(bus: Bus) -> None:
    heard: list[TraceContext | None] = []

    async def handler(_: AnyMessage) -> Message:
        heard.append(tracing.current().context)
        return Done()

    await bus.serve("hg.test", handler)
    asking = LiveSpan(None, TraceContext(7, 11))
    with asking.current():
        await bus.request("hg.test", Done(), timeout_s=2)
    await bus.request("hg.test", Done(), timeout_s=2)
    assert heard == [asking.context, None]
