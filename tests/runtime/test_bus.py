import asyncio
from pathlib import Path

import pytest

from services.contracts.ids import CallId
from services.contracts.messages import AnyMessage, Done, Hangup, Message
from services.runtime import tracing
from services.runtime.bus import Bus
from services.runtime.errors import BusUnavailableError, NoRespondersError, RequestTimeoutError
from services.runtime.tracing import Context, Live
from services.up.natsd import nats_server

CALL = CallId("rtc_" + "a" * 26)


async def test_a_request_is_answered(bus: Bus) -> None:
    async def handler(_: AnyMessage) -> Message:
        return Done()

    await bus.serve("hg.test", handler)
    assert await bus.request("hg.test", Hangup(call=CALL), timeout_s=2) == Done()


async def test_a_request_that_nobody_listens_to_fails_at_once(bus: Bus) -> None:
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

    await bus.listen("hg.up.w.*", handler)
    for n in range(100):
        await bus.send("hg.up.w.c", str(n).encode())
    async with asyncio.timeout(5):
        await done.wait()
    assert got == [str(n).encode() for n in range(100)]


async def test_no_server_is_one_clear_error() -> None:
    with pytest.raises(BusUnavailableError, match="start it"):
        async with Bus.connect("nats://127.0.0.1:1", name="test"):
            pass


async def test_a_bus_closes_even_when_its_server_has_gone(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as server:
        async with Bus.connect(server.url, name="test") as bus:
            server.process.kill()
            await server.process.wait()
            with pytest.raises((NoRespondersError, RequestTimeoutError)):
                await bus.request("hg.nobody", Done(), timeout_s=0.5)
        assert not bus.connected


async def test_a_request_tells_where_in_its_trace_it_is_asked(bus: Bus) -> None:
    heard: list[Context | None] = []

    async def handler(_: AnyMessage) -> Message:
        heard.append(tracing.current().context)
        return Done()

    await bus.serve("hg.test", handler)
    asking = Live(None, Context(7, 11))
    with asking.current():
        await bus.request("hg.test", Done(), timeout_s=2)
    await bus.request("hg.test", Done(), timeout_s=2)
    assert heard == [asking.context, None]
