"""Clients that disconnect before the answer: 499, a log line, and the token stays redeemable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Hangup, Heartbeat, Offer, OfferAnswered
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import ensure_placed_stream
from services.runtime.http.server import serve_http
from services.runtime.process.health import Health
from services.signaling.app import Components, build, open_grants
from services.signaling.auth import Authority
from services.signaling.media_directory import MediaDirectory
from services.signaling.metering_client import UsageSource
from services.signaling.request_limiter import RequestLimiter
from services.signaling.settings import SignalingSettings
from services.signaling.tenants_file import TenantsFile
from tests.runtime.raw_http import Raw, raw

WITHIN_S = 20.0
CALLS, WHIP = "/v1/realtime/calls", "/v1/whip"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def requests(route: str, code: str) -> float:
    return counted("hushgate_requests_total", route=route, code=code)


async def until(fact: Callable[[], bool], url: str) -> None:
    """Wait for ``fact``; each request to the server lets its event loop proceed."""
    async with asyncio.timeout(WITHIN_S), httpx.AsyncClient(base_url=url) as client:
        while not fact():
            await client.get("/healthz")


@pytest.fixture
async def url(bus: Bus, tenants_path: Path) -> AsyncIterator[str]:
    settings = SignalingSettings(tenants_file=tenants_path)
    directory = MediaDirectory(bus)
    listening = asyncio.ensure_future(directory.subscribe_heartbeats())
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
    await ensure_placed_stream(bus.jetstream)  # metering's part
    while not listening.done():
        await bus.publish(subjects.heartbeat(beat.process), beat)
        await bus.flush()
        await asyncio.wait({listening}, timeout=0.05)
    async with httpx.AsyncClient() as nowhere:
        parts = Components(
            bus=bus,
            authority=Authority(
                TenantsFile(tenants_path), await open_grants(bus), RequestLimiter(settings.rates, settings.address_rate)
            ),
            directory=directory,
            usage=UsageSource(nowhere, configured=False),
            default_model=settings.default_model,
        )
        app = build(parts, settings, Health(blocked_by=set()))
        async with serve_http(app, host="127.0.0.1", port=0, limits=settings.http_limits) as served:
            yield served


@pytest.fixture
async def token(url: str, key: str) -> str:
    async with httpx.AsyncClient(base_url=url) as client:
        reply = await client.post("/v1/realtime/client_secrets", headers={"Authorization": f"Bearer {key}"})
        return str(reply.json()["value"])


def post(path: str, secret: str, kind: str, body: str, *, length: int | None = None) -> bytes:
    size = len(body.encode()) if length is None else length
    fields = f"Host: a\r\nAuthorization: Bearer {secret}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{fields}{body}".encode()


def parts(offer: str) -> tuple[str, str]:
    body = f'--b\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n{offer}\r\n--b--\r\n'
    return "multipart/form-data; boundary=b", body


async def answering(bus: Bus, answered: Callable[[], Awaitable[None]]) -> None:
    async def take(message: AnyMessage) -> Message:
        assert isinstance(message, Offer)
        await answered()
        return OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))

    await bus.serve(subjects.offer(ProcessId("media-0")), take)


async def no_wait() -> None:
    pass


@pytest.mark.parametrize("path", [CALLS, WHIP, "multipart"])
async def test_a_body_cut_off_is_499_and_leaves_the_token_usable(
    path: str, bus: Bus, url: str, token: str, offer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await answering(bus, no_wait)
    kind, body = parts(offer) if path == "multipart" else ("application/sdp", offer)
    route = CALLS if path == "multipart" else path
    before, failed = requests(route, "499"), requests(route, "500")
    async with raw(url) as connection:
        connection.writer.write(post(route, token, kind, body[:100], length=len(body)))
        await connection.writer.drain()
    await until(lambda: requests(route, "499") == before + 1, url)
    assert requests(route, "500") == failed
    output = capsys.readouterr().out
    assert ("Traceback" in output, output.count("request_cut_off"), "client_gone" in output) == (False, 1, True)
    async with raw(url) as again:
        assert (await again.ask(post(route, token, kind, body)))[0] == 201


@pytest.mark.parametrize("route", [CALLS, WHIP])
async def test_who_goes_while_the_answer_is_made_has_its_token_back_and_its_call_ended(
    route: str, bus: Bus, url: str, token: str, offer: str
) -> None:
    asked, gone, hung_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answered() -> None:
        asked.set()
        await gone.wait()

    def control(_: str, data: bytes) -> None:
        if Hangup.model_fields["type"].default.encode() in data:
            hung_up.set()

    await answering(bus, answered)
    await bus.subscribe("hg.call.*.*.control", control)
    before, released = requests(route, "499"), counted("hushgate_tokens_released_total", result="done")
    async with raw(url) as connection:
        connection.writer.write(post(route, token, "application/sdp", offer))
        async with asyncio.timeout(WITHIN_S):
            await asked.wait()
    async with httpx.AsyncClient(base_url=url) as client:
        await client.get("/healthz")  # by now the server has seen it go
    gone.set()
    await until(lambda: requests(route, "499") == before + 1, url)
    assert counted("hushgate_tokens_released_total", result="done") == released + 1
    async with asyncio.timeout(WITHIN_S):
        await hung_up.wait()
    async with raw(url) as again:
        assert (await again.ask(post(route, token, "application/sdp", offer)))[0] == 201


async def test_a_restart_cut_off_is_499(bus: Bus, url: str, token: str, offer: str) -> None:
    await answering(bus, no_wait)
    async with httpx.AsyncClient(base_url=url) as client:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        made = await client.post(CALLS, content=offer, headers=headers)
    path, route = f"{made.headers['location']}/restart", f"{CALLS}/{{call_id}}/restart"
    before = requests(route, "499")
    async with raw(url) as connection:
        connection.writer.write(post(path, token, "application/sdp", offer[:50], length=len(offer)))
        await connection.writer.drain()
    await until(lambda: requests(route, "499") == before + 1, url)


async def test_a_body_that_is_late_is_408(bus: Bus, url: str, token: str, offer: str) -> None:
    assert bus.connected
    async with raw(url) as connection:
        status = await slow(connection, post(CALLS, token, "application/sdp", offer[:9], length=len(offer)))
        assert status == 408


async def slow(connection: Raw, data: bytes) -> int:
    return (await connection.ask(data))[0]
