"""Slow senders, clients that do not read, and many connections do not block a listener."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.runtime.http.connections import HttpLimits
from services.runtime.http.server import Tls, serve_http
from tests.runtime.certificate import self_signed
from tests.runtime.raw_http import WITHIN_S, Echo, Raw, get, raw

SOON = HttpLimits(head_timeout_s=0.2, body_timeout_s=0.2, write_timeout_s=0.2)
SMALL = HttpLimits(max_connections=64, max_connections_per_address=16)


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("hushgate_http_refused_total", {"reason": reason}) or 0.0


async def trickle(connection: Raw, first: bytes, piece: bytes) -> bytes:
    """Send ``piece`` repeatedly until the server closes; returns what it sent."""
    reading = asyncio.ensure_future(connection.rest())
    connection.writer.write(first)
    while not reading.done():
        connection.writer.write(piece)
        await asyncio.wait({reading}, timeout=0.05)
    return reading.result()


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET /echo HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"),
        (b"", b"\r\n"),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (get("/echo") + b"GET /echo HTTP/1.1\r\n", b"X: y\r\n"),
    ],
)
async def test_a_request_that_comes_a_little_at_a_time_has_one_deadline(first: bytes, piece: bytes) -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0, limits=SOON) as url, raw(url) as connection:
        received = await trickle(connection, first, piece)
        assert b"HTTP/1.1 408" in received or b"HTTP/1.1 401" in received


async def test_a_connection_that_sends_nothing_is_closed() -> None:
    async with serve_http(Echo().app(), host="127.0.0.1", port=0, limits=SOON) as url, raw(url) as connection:
        assert await connection.rest() == b""


async def test_an_answer_that_is_not_read_ends_the_connection() -> None:
    before = refused("write_timeout")
    async with serve_http(Echo().app(), host="127.0.0.1", port=0, limits=SOON) as url, raw(url) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined] # the loop's own transport
        connection.writer.write(get("/large"))
        async with asyncio.timeout(WITHIN_S):
            while refused("write_timeout") == before:
                async with raw(url) as other:
                    await other.ask(get("/healthz"))


@pytest.fixture
def certificate(tmp_path: Path) -> Tls:
    return Tls(*self_signed(tmp_path))


async def test_a_tls_handshake_that_does_not_end_is_cut(certificate: Tls) -> None:
    async with (
        serve_http(Echo().app(), host="127.0.0.1", port=0, limits=SOON, tls=certificate) as url,
        raw(url) as silent,
        raw(url) as halfway,
    ):
        halfway.writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
        assert await silent.rest() == b""
        assert await halfway.rest() == b""


async def test_handshakes_count_as_connections(certificate: Tls) -> None:
    limits = HttpLimits(max_connections=64, max_connections_per_address=16)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(
            serve_http(Echo().app(), host="127.0.0.1", port=0, limits=limits, tls=certificate)
        )
        first = await stack.enter_async_context(raw(url))
        for _ in range(16):
            await stack.enter_async_context(raw(url))
        assert await first.rest() == b""


async def test_with_many_idle_connections_new_ones_are_served() -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(Echo().app(), host="127.0.0.1", port=0, limits=SMALL))
        idle = [await stack.enter_async_context(raw(url, local=f"127.0.1.{1 + n // 10}")) for n in range(100)]
        for local in ("127.0.0.1", "127.0.1.1"):
            newcomer = await stack.enter_async_context(raw(url, local=local))
            assert (await newcomer.ask(get("/healthz")))[0] == 200
        assert await idle[0].rest() == b""  # the oldest gave way


async def test_one_address_cannot_use_up_the_connections() -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(Echo().app(), host="127.0.0.1", port=0, limits=SMALL))
        waiting = await stack.enter_async_context(raw(url, local="127.0.1.1"))
        for _ in range(100):
            await stack.enter_async_context(raw(url, local="127.0.1.2"))
        assert (await waiting.ask(get("/echo")))[0] == 200


async def test_a_trusted_proxy_has_no_limit_per_address() -> None:
    limits = HttpLimits(max_connections=64, max_connections_per_address=16, trusted_proxies=("127.0.1.0/24",))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(Echo().app(), host="127.0.0.1", port=0, limits=limits))
        mine = [await stack.enter_async_context(raw(url, local="127.0.1.2")) for _ in range(40)]
        for connection in mine:
            assert (await connection.ask(get("/echo")))[0] == 200


async def test_a_busy_connection_is_not_evicted_and_one_too_many_gets_503() -> None:
    echo = Echo()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(echo.app(), host="127.0.0.1", port=0, limits=SMALL))
        held: list[Raw] = []
        for number in range(56):
            held.append(await stack.enter_async_context(raw(url, local=f"127.0.1.{1 + number // 14}")))
            held[-1].writer.write(get("/hold"))
        newcomer = await stack.enter_async_context(raw(url))
        async with asyncio.timeout(WITHIN_S):
            while (answer := await newcomer.ask(get("/echo")))[0] == 200:
                pass  # until all of them are in their requests
        assert answer[0] == 503
        assert json.loads(answer[1])["error"]["code"] == "busy"
        assert await newcomer.rest() == b""
        probe = await stack.enter_async_context(raw(url))
        assert (await probe.ask(get("/healthz")))[0] == 200
        echo.let.set()
        for connection in held:
            assert await connection.answer() == (200, b"held")
        again = await stack.enter_async_context(raw(url))
        assert (await again.ask(get("/echo")))[0] == 200


async def test_one_address_gets_only_a_part_of_the_requests() -> None:
    echo = Echo()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(echo.app(), host="127.0.0.1", port=0, limits=SMALL))
        for _ in range(14):
            connection = await stack.enter_async_context(raw(url, local="127.0.1.1"))
            connection.writer.write(get("/hold"))
        another = await stack.enter_async_context(raw(url, local="127.0.1.1"))
        async with asyncio.timeout(WITHIN_S):
            while (answer := await another.ask(get("/echo")))[0] == 200:
                pass
        assert (answer[0], json.loads(answer[1])["error"]["code"]) == (503, "address_busy")
        elsewhere = await stack.enter_async_context(raw(url))
        assert (await elsewhere.ask(get("/echo")))[0] == 200
        echo.let.set()


@pytest.mark.parametrize(
    ("trusted", "fields", "scheme", "client"),
    [
        ((), ("X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"), "http", "127.0.0.1"),
        (("10.0.0.0/8",), ("X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"), "http", "127.0.0.1"),
        (("127.0.0.1/32",), ("X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1"), "https", "192.0.2.1"),
        (("127.0.0.1/32",), ("X-Forwarded-For: 198.51.100.9, 192.0.2.1",), "http", "192.0.2.1"),
        (("127.0.0.1/32", "10.0.0.0/8"), ("X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.2.3",), "http", "192.0.2.1"),
        (("127.0.0.1/32",), ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.1"), "http", "192.0.2.1"),
        (("127.0.0.1/32", "fd00::/8"), ("X-Forwarded-For: 2001:db8::1, fd00::7",), "http", "2001:db8::1"),
        (("127.0.0.1/32",), ("X-Forwarded-Proto: javascript",), "http", "127.0.0.1"),
    ],
)
async def test_forwarded_headers_are_accepted_from_trusted_proxies_only(
    trusted: tuple[str, ...], fields: tuple[str, ...], scheme: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own, which must have no say
    limits = HttpLimits(trusted_proxies=trusted)
    async with serve_http(Echo().app(), host="127.0.0.1", port=0, limits=limits) as url, raw(url) as connection:
        status, answer = await connection.ask(get("/echo", *fields))
        assert (status, json.loads(answer)) == (200, {"body": "", "scheme": scheme, "client": client})
