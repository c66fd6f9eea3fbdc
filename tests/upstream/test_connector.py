"""The OpenAI wire against a real WebSocket server."""

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.connectors.registry import connector
from services.upstream.connectors.resampler import Resampler
from services.upstream.errors import (
    UpstreamBusyError,
    UpstreamClosedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from tests.upstream.provider import Json, Provider, running

KEY = SecretStr("sk-a-key-that-must-not-be-shown")
MODEL = "gpt-realtime-2.1"


async def open_and_close(provider: Provider) -> None:
    async with running(provider), connector("anyone", url=provider.url, key=KEY).connect(MODEL):
        pass


async def test_a_session_names_the_model_and_brings_the_key() -> None:
    provider = Provider()
    await open_and_close(provider)
    assert provider.sessions[0].path == "/v1/realtime?model=gpt-realtime-2.1"
    assert provider.sessions[0].authorization == f"Bearer {KEY.get_secret_value()}"


async def test_a_provider_without_a_key_gets_none() -> None:
    async with running(Provider()) as provider, OpenAIConnector(f"{provider.url}?a=b").connect(MODEL):
        assert provider.sessions[0].authorization is None
        assert provider.sessions[0].path == "/v1/realtime?a=b&model=gpt-realtime-2.1"


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (HTTPStatus.UNAUTHORIZED, UpstreamRefusedError, "the provider refused the key: set OPENAI_API_KEY"),
        (HTTPStatus.FORBIDDEN, UpstreamRefusedError, "refused the key"),
        (HTTPStatus.NOT_FOUND, UpstreamRefusedError, "has no model 'gpt-realtime-2.1'"),
        (HTTPStatus.BAD_REQUEST, UpstreamRefusedError, "correct UPSTREAM_URL"),
        (HTTPStatus.TOO_MANY_REQUESTS, UpstreamBusyError, "limits us"),
        (HTTPStatus.BAD_GATEWAY, UpstreamUnavailableError, "try again later"),
    ],
)
async def test_a_refused_handshake_says_what_to_do(status: HTTPStatus, error: type[UpstreamError], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        await open_and_close(Provider(status=status))
    assert "sk-" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        ({"code": "invalid_api_key", "message": "bad"}, UpstreamRefusedError, "refused the key"),
        ({"code": "model_not_found", "message": "bad"}, UpstreamRefusedError, "opens no session with model"),
        ({"type": "server_error", "message": "bad"}, UpstreamUnavailableError, "server_error"),
    ],
)
async def test_a_refusal_in_an_event_says_what_to_do(error: Json, expected: type[UpstreamError], says: str) -> None:
    with pytest.raises(expected, match=says):
        await open_and_close(Provider(greeting={"type": "error", "error": error}))


@pytest.mark.parametrize(
    ("code", "expected", "says"),
    [(3000, UpstreamRefusedError, "refused the key"), (1011, UpstreamUnavailableError, "hung up at once")],
)
async def test_a_refusal_in_a_close_code_says_what_to_do(code: int, expected: type[UpstreamError], says: str) -> None:
    with pytest.raises(expected, match=says):
        await open_and_close(Provider(close_code=code))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://127.0.0.1:1/v1/realtime", "cannot be reached"),
        ("ws://nobody.invalid/v1/realtime", "has no address"),
    ],
)
async def test_an_unreachable_provider_says_what_to_do(url: str, says: str) -> None:
    wire = OpenAIConnector(url, KEY)
    with pytest.raises(UpstreamUnavailableError, match=says):
        async with wire.connect(MODEL):
            pass
    assert "sk-" not in repr(wire)


def untrusted(directory: Path) -> ssl.SSLContext:
    """A server's context with a certificate that it has made by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(day).not_valid_after(day + timedelta(days=36_500))
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = directory / "server.pem"
    file.write_bytes(plain + made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_a_certificate_that_nobody_trusts_says_what_to_do(tmp_path: Path) -> None:
    async with running(Provider(), tls=untrusted(tmp_path)) as provider:
        with pytest.raises(UpstreamUnavailableError, match="no certificate that we trust"):
            async with OpenAIConnector(provider.url.replace("ws:", "wss:"), KEY).connect(MODEL):
                pass


async def test_a_server_that_speaks_no_websocket_says_what_to_do() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-nothing\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamUnavailableError, match="does not speak WebSocket"):
            async with OpenAIConnector(f"ws://127.0.0.1:{port}/").connect(MODEL):
                pass


async def test_an_utterance_arrives_whole_when_it_is_committed() -> None:
    provider = Provider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        for frames in (1, 2, 2, 1, 1):
            await connection.append(bytes(640 * frames))
        await connection.send({"type": "input_audio_buffer.commit"})
        heard = await provider.session()
        await heard.until("input_audio_buffer.commit")
        assert heard.committed_ms == [7 * 20]
        sizes = [len(str(e["audio"])) for e in heard.events if e["type"] == "input_audio_buffer.append"]
        assert max(sizes) <= 4800 * 4 // 3


async def test_a_cleared_utterance_leaves_nothing_for_the_next() -> None:
    provider = Provider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        await connection.append(bytes(1280))
        await connection.send({"type": "input_audio_buffer.clear"})
        for _ in range(5):
            await connection.append(bytes(640))
        await connection.send({"type": "input_audio_buffer.commit"})
        heard = await provider.session()
        await heard.until("input_audio_buffer.commit")
        assert heard.committed_ms == [100]


async def test_what_cannot_be_read_is_none_and_the_session_goes_on() -> None:
    provider = Provider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        heard = await provider.session()
        await heard.socket.send("{not json")
        await heard.socket.send("[" * 100_000)
        await heard.socket.send(json.dumps({"type": "fine"}))
        assert [await connection.receive() for _ in range(3)] == [None, None, {"type": "fine"}]


async def test_a_closed_session_says_why() -> None:
    provider = Provider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        heard = await provider.session()
        await heard.socket.close(1001, "session expired")
        with pytest.raises(UpstreamClosedError, match="closed with 1001 session expired"):
            await connection.receive()
        with pytest.raises(UpstreamClosedError):
            await connection.append(bytes(64_000))


async def test_a_message_beyond_all_measure_closes_the_session() -> None:
    provider = Provider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        heard = await provider.session()
        await heard.socket.send("x" * (9 * 1024 * 1024))
        with pytest.raises(UpstreamClosedError):
            await connection.receive()


@pytest.mark.parametrize("frames", [1, 5, 37, 500])
def test_resampling_gives_480_samples_for_20_ms_in_sum(frames: int) -> None:
    resampler = Resampler()
    out = b"".join(resampler.push(bytes(640)) for _ in range(frames)) + resampler.flush()
    assert len(out) == frames * 960
    assert resampler.flush() == b""


def test_resampling_keeps_a_tone() -> None:
    tone = (np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 8000).astype("<i2")
    resampler = Resampler()
    out = np.frombuffer(resampler.push(tone.tobytes()) + resampler.flush(), "<i2")
    peak = np.argmax(np.abs(np.fft.rfft(out.astype(float))))
    assert peak == 440
    assert 7800 < np.abs(out[2000:-2000]).max() < 8200
