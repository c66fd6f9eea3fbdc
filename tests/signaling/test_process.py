import asyncio
import signal
import ssl
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from openai import AsyncOpenAI, AuthenticationError, InternalServerError, NotFoundError

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import CallId, ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Done, Offer, OfferAnswered
from services.runtime.bus.client import Bus
from services.runtime.errors import SettingsError
from services.runtime.process.child import stop
from services.runtime.process.settings import load
from services.signaling.settings import SignalingSettings
from services.up.nats_server import nats_server
from tests.signaling.page import PAGE_SECRET, page_headers
from tests.signaling.process import media_heartbeat_received, signaling


async def test_the_stock_client_mints_calls_and_hangs_up(
    nats_url: str, tenants_path: Path, bus: Bus, key: str, offer: str
) -> None:
    offers: list[Offer] = []
    hung_up: list[AnyMessage] = []

    async def answer(message: AnyMessage) -> Message:
        assert isinstance(message, Offer)
        offers.append(message)
        await bus.serve(subjects.control(ProcessId("media-0"), message.call), control)
        return OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))

    async def control(message: AnyMessage) -> Message:
        hung_up.append(message)
        return Done()

    await bus.serve(subjects.offer(ProcessId("media-0")), answer)
    async with signaling(nats_url=nats_url, tenants_file=tenants_path) as (url, process):
        async with AsyncOpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0) as backend:
            with pytest.raises(InternalServerError, match="No media process"):
                await backend.realtime.calls.create(sdp=offer)
            await media_heartbeat_received(bus, url)
            secret = await backend.realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-realtime"})
        async with AsyncOpenAI(api_key=secret.value, base_url=f"{url}/v1", max_retries=0) as caller:
            created = await caller.realtime.calls.create(
                sdp=offer, session={"type": "realtime", "model": "gpt-realtime"}
            )
            call = CallId(created.response.headers["location"].rpartition("/")[2])
            await caller.realtime.calls.hangup(call)
            with pytest.raises(NotFoundError):
                await caller.realtime.calls.hangup("rtc_" + "z" * 26)
            with pytest.raises(AuthenticationError):
                await caller.realtime.calls.create(sdp=offer)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert (created.content, [each.call for each in offers]) == (b"v=0\r\n", [call])
    assert len(hung_up) == 1


async def test_a_websocket_is_refused(nats_url: str, tenants_path: Path) -> None:
    async with signaling(nats_url=nats_url, tenants_file=tenants_path) as (url, _):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(url.replace("http", "ws") + "/v1/realtime")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(made.public_bytes(pem))
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return cert_path, key_path


async def test_the_endpoint_speaks_https_when_it_has_a_certificate(
    nats_url: str, tenants_path: Path, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path)
    settings = {"nats_url": nats_url, "tenants_file": tenants_path, "tls_cert": cert, "tls_key": key}
    async with signaling(log=None, demo_tenant="acme", page_secret=PAGE_SECRET.get_secret_value(), **settings) as (
        url,
        _,
    ):
        trust = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(verify=trust, base_url=url) as client:
            assert (await client.post("/demo/token", headers=page_headers(url))).status_code == 200
            plain = url.replace("https", "http")
            assert (await client.post("/demo/token", headers=page_headers(plain))).status_code == 403


async def test_a_demo_tenant_that_is_not_in_the_file_stops_the_start(nats_url: str, tenants_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.signaling",
        env={
            "SIGNALING_NATS_URL": nats_url,
            "SIGNALING_TENANTS_FILE": str(tenants_path),
            "SIGNALING_DEMO_TENANT": "nobody",
            "SIGNALING_PAGE_SECRET": "the-secret-of-this-start",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 1
    assert b"nobody is not in the tenants file" in out


async def test_without_nats_the_endpoint_is_not_ready_and_says_why(
    tmp_path: Path, tenants_path: Path, key: str
) -> None:
    async with nats_server(tmp_path) as server, signaling(nats_url=server.url, tenants_file=tenants_path) as (url, _):
        await stop(server.process)
        async with asyncio.timeout(10), httpx.AsyncClient(base_url=url) as client:
            while (ready := await client.get("/readyz")).status_code == 200:
                pass
            assert ready.text == "not ready: bus\n"
            reply = await client.post("/v1/realtime/client_secrets", headers={"Authorization": f"Bearer {key}"})
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "bus_unavailable")
            assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"SIGNALING_TLS_CERT": "cert.pem"},
        {"SIGNALING_METERING_URL": "metering:80"},
        {"SIGNALING_ALLOWED_ORIGIN": "[]"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        load(SignalingSettings, {"SIGNALING_TENANTS_FILE": "tenants.json", **wrong})
