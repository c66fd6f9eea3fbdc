"""The OpenAI connector against a real WebSocket server."""

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.connectors.registry import connector
from services.upstream.errors import (
    UpstreamBusyError,
    UpstreamClosedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)
from tests.upstream.provider import Json, ScriptedProvider, running

KEY = SecretStr("sk-a-key-that-must-not-be-shown")
MODEL = "gpt-realtime-2.1"


async def open_and_close(provider: ScriptedProvider) -> None:
    async with running(provider), connector("anyone", url=provider.url, key=KEY).connect(MODEL):
        pass


async def test_a_session_names_the_model_and_brings_the_key() -> None:
    provider = ScriptedProvider()
    await open_and_close(provider)
    assert provider.sessions[0].path == "/v1/realtime?model=gpt-realtime-2.1"
    assert provider.sessions[0].authorization == f"Bearer {KEY.get_secret_value()}"


async def test_a_provider_without_a_key_gets_none() -> None:
    async with running(ScriptedProvider()) as provider, OpenAIConnector(f"{provider.url}?a=b").connect(MODEL):
        assert provider.sessions[0].authorization is None
        assert provider.sessions[0].path == "/v1/realtime?a=b&model=gpt-realtime-2.1"


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (HTTPStatus.UNAUTHORIZED, UpstreamRefusedError, "the provider refused the key: set OPENAI_API_KEY"),
        (HTTPStatus.FORBIDDEN, UpstreamRefusedError, "refused the key"),
        (HTTPStatus.NOT_FOUND, UpstreamRefusedError, "has no model 'gpt-realtime-2.1'"),
        (HTTPStatus.BAD_REQUEST, UpstreamRefusedError, "correct UPSTREAM_URL"),
        (HTTPStatus.TOO_MANY_REQUESTS, UpstreamBusyError, "limits us"),
        (HTTPStatus.BAD_GATEWAY, UpstreamUnavailableError, "try again later"),
    ],
)
async def test_a_refused_handshake_says_what_to_do(
    status: HTTPStatus, error: type[UpstreamError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        await open_and_close(ScriptedProvider(status=status))
    assert "sk-" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        ({"code": "invalid_api_key", "message": "bad"}, UpstreamRefusedError, "refused the key"),
        ({"code": "model_not_found", "message": "bad"}, UpstreamRefusedError, "opens no session with model"),
        ({"type": "server_error", "message": "bad"}, UpstreamUnavailableError, "server_error"),
    ],
)
async def test_a_refusal_in_an_event_says_what_to_do(error: Json, expected: type[UpstreamError], message: str) -> None:
    with pytest.raises(expected, match=message):
        await open_and_close(ScriptedProvider(first_event={"type": "error", "error": error}))


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [(3000, UpstreamRefusedError, "refused the key"), (1011, UpstreamUnavailableError, "hung up at once")],
)
async def test_a_refusal_in_a_close_code_says_what_to_do(
    code: int, expected: type[UpstreamError], message: str
) -> None:
    with pytest.raises(expected, match=message):
        await open_and_close(ScriptedProvider(close_code=code))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ws://127.0.0.1:1/v1/realtime", "cannot be reached"),
        ("ws://nobody.invalid/v1/realtime", "has no address"),
    ],
)
async def test_an_unreachable_provider_says_what_to_do(url: str, message: str) -> None:
    wire = OpenAIConnector(url, KEY)
    with pytest.raises(UpstreamUnavailableError, match=message):
        async with wire.connect(MODEL):
            pass
    assert "sk-" not in repr(wire)


def untrusted(directory: Path) -> ssl.SSLContext:
    """Return a server's context with a self-signed certificate."""
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
    async with running(ScriptedProvider(), tls=untrusted(tmp_path)) as provider:
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
    provider = ScriptedProvider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        for frames in (1, 2, 2, 1, 1):
            await connection.append_audio(bytes(640 * frames))
        await connection.send_event({"type": "input_audio_buffer.commit"})
        provider_session = await provider.session()
        await provider_session.until("input_audio_buffer.commit")
        assert provider_session.committed_ms == [7 * 20]
        sizes = [len(str(e["audio"])) for e in provider_session.events if e["type"] == "input_audio_buffer.append"]
        assert max(sizes) <= 4800 * 4 // 3


async def test_a_cleared_utterance_leaves_nothing_for_the_next() -> None:
    provider = ScriptedProvider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        await connection.append_audio(bytes(1280))
        await connection.send_event({"type": "input_audio_buffer.clear"})
        for _ in range(5):
            await connection.append_audio(bytes(640))
        await connection.send_event({"type": "input_audio_buffer.commit"})
        provider_session = await provider.session()
        await provider_session.until("input_audio_buffer.commit")
        assert provider_session.committed_ms == [100]


async def test_what_cannot_be_read_is_none_and_the_session_goes_on() -> None:
    provider = ScriptedProvider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        provider_session = await provider.session()
        await provider_session.socket.send("{not json")
        await provider_session.socket.send("[" * 100_000)
        await provider_session.socket.send(json.dumps({"type": "fine"}))
        assert [await connection.receive_event() for _ in range(3)] == [None, None, {"type": "fine"}]


async def test_a_closed_session_says_why() -> None:
    provider = ScriptedProvider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        provider_session = await provider.session()
        await provider_session.socket.close(1001, "session expired")
        with pytest.raises(UpstreamClosedError, match="closed with 1001 session expired"):
            await connection.receive_event()
        with pytest.raises(UpstreamClosedError):
            await connection.append_audio(bytes(64_000))


async def test_a_message_beyond_all_measure_closes_the_session() -> None:
    provider = ScriptedProvider()
    async with running(provider), OpenAIConnector(provider.url).connect(MODEL) as connection:
        provider_session = await provider.session()
        await provider_session.socket.send("x" * (65 * 1024 * 1024))
        with pytest.raises(UpstreamClosedError):
            await connection.receive_event()


async def test_an_event_is_sent_in_utf_8_without_escapes_unless_it_has_no_utf_8() -> None:
    async with running(ScriptedProvider()) as provider, OpenAIConnector(provider.url).connect(MODEL) as connection:
        session = await provider.session()
        for text in ("привет", "\ud800"):
            await connection.send_event({"type": "conversation.item.create", "text": text})
        assert (await session.until("conversation.item.create", 1))["text"] == "привет"
        assert (await session.until("conversation.item.create", 2))["text"] == "\ud800"
