"""The OpenAI Realtime API over WebSocket, which OpenAI, Azure, LocalAI and many more serve."""

import asyncio
import base64
import json
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from pydantic import JsonValue, SecretStr
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from services.contracts.json_bytes import json_bytes
from services.runtime import clock
from services.runtime.telemetry.logging import redact_text
from services.runtime.telemetry.redaction import secrets_in_url
from services.upstream import metrics
from services.upstream.connectors.audio_rates import AudioRates
from services.upstream.connectors.base import ProviderConnection
from services.upstream.connectors.scrubber import Scrubber
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.json_shape import Json, fields, text
from services.upstream.errors import (
    UpstreamBusyError,
    UpstreamClosedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)

CAPABILITIES = Capabilities(
    manual_turns=True,
    cancel=True,
    truncate=True,
    delete=True,
    transcription=True,
    tools=True,
    beside=True,
    input_hz=24_000,
    output_hz=24_000,
    meter="tokens",
    session_limit_s=3600,  # OpenAI's guide to Realtime sessions
)
CONNECT_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Audio deltas are some kilobytes; an item that the client created comes back whole, in ASCII
three times as large."""
PING_S = 10.0
MAX_APPEND_BYTES = 4800  # 100 ms of 24 kHz
_CLOSE_TIMEOUT_S = 1.0
_MAX_DETAIL = 200
_MAX_CODE = 64
_REFUSING_CLOSES = frozenset({1008, 3000, 3003, 4001, 4003, 4004})
_REFUSING_CODES = frozenset({"invalid_api_key", "model_not_found", "invalid_model", "insufficient_quota"})
_REFUSED_KEY = (
    "the provider refused the key: set OPENAI_API_KEY (for `hushgate up`), UPSTREAM_API_KEY or UPSTREAM_API_KEY_FILE "
    "to a key that may use the Realtime API"
)


@dataclass(frozen=True, slots=True)
class OpenAIConnector:
    """Opens sessions at one base URL with one key."""

    url: str
    key: SecretStr = field(default=SecretStr(""), repr=False)
    capabilities: Capabilities = CAPABILITIES
    """Those of OpenAI's own API; a line of `WIRES` may give fewer for a server that lacks some."""

    @property
    def _scrubber(self) -> Scrubber:
        return Scrubber({self.key.get_secret_value(), *secrets_in_url(self.url)})

    @asynccontextmanager
    async def connect(self, model: str) -> AsyncIterator[ProviderConnection]:
        """Open a session with ``model``; yield when the provider has sent `session.created`.

        Raises:
            UpstreamRefusedError: the key, the model or the URL is wrong.
            UpstreamUnavailableError: there is no session within `CONNECT_TIMEOUT_S`.
        """
        began = clock.monotonic()
        ws = await self._open(model)
        try:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S - min(CONNECT_TIMEOUT_S, clock.monotonic() - began)):
                    await _await_session_created(ws, model, self._scrubber)
            except TimeoutError:
                raise UpstreamUnavailableError(f"{self._display_url} accepts sockets and opens no session") from None
            metrics.CONNECT_DURATION.observe(clock.monotonic() - began)
            yield OpenAIConnection(ws, self._scrubber, self.capabilities)
        finally:
            await ws.close()

    @property
    def _display_url(self) -> str:
        return redact_text(self.url.partition("?")[0])

    async def _open(self, model: str) -> ClientConnection:
        separator = "&" if "?" in self.url else "?"
        secret = self.key.get_secret_value()
        host = urlsplit(self.url).hostname or ""
        try:
            return await open_socket(
                f"{self.url}{separator}model={quote(model, safe='')}",
                additional_headers={"Authorization": f"Bearer {secret}"} if secret else None,
                user_agent_header="hushgate",
                proxy=None if host in ("127.0.0.1", "localhost", "::1") else True,
                compression=None,  # base64 of speech does not shrink
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=CONNECT_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
            )
        except InvalidStatus as exc:
            raise self._refused(exc.response.status_code, _error_of(exc.response.body, self._scrubber), model) from exc
        except (InvalidHandshake, InvalidURI) as exc:
            raise UpstreamUnavailableError(
                f"{self._display_url} does not speak WebSocket ({type(exc).__name__}): correct UPSTREAM_URL"
            ) from exc
        except (OSError, TimeoutError, ValueError) as exc:
            raise UpstreamUnavailableError(f"{self._display_url} {_cause(exc, self._scrubber)}") from exc

    def _refused(self, status: int, detail: str, model: str) -> UpstreamError:
        suffix = f" ({detail})" if detail else ""
        match status:
            case 401 | 403:
                return UpstreamRefusedError(f"{_REFUSED_KEY}; HTTP {status}{suffix}")
            case 404:
                return UpstreamRefusedError(
                    f"{self._display_url} has no model {model!r}, or is no Realtime URL{suffix}"
                )
            case 429:
                return UpstreamBusyError(
                    f"{self._display_url} limits us: wait, or raise the limits of the account{suffix}"
                )
            case _ if status >= 500:  # noqa: PLR2004 - HTTP
                return UpstreamUnavailableError(
                    f"{self._display_url} fails with HTTP {status}: try again later{suffix}"
                )
            case _:
                return UpstreamRefusedError(
                    f"{self._display_url} refuses with HTTP {status}: correct UPSTREAM_URL{suffix}"
                )


class OpenAIConnection:
    """One open session over a WebSocket."""

    def __init__(self, ws: ClientConnection, scrubber: Scrubber, capabilities: Capabilities) -> None:
        self._ws = ws
        self._scrubber = scrubber
        self._rates = AudioRates(capabilities)
        self._unread: deque[JsonValue] = deque()

    async def append_audio(self, pcm: bytes) -> None:
        """See `ProviderConnection`."""
        await self._write_audio(self._rates.resample_caller_audio(pcm))

    async def send_event(self, event: Json) -> None:
        """See `ProviderConnection`."""
        if event["type"] == "input_audio_buffer.commit":
            await self._write_audio(self._rates.flush_caller_audio())
        elif event["type"] == "input_audio_buffer.clear":
            self._rates.reset_caller_audio()
        await self._write(json_bytes(self._rates.resample_client_event(event)))

    async def receive_event(self) -> JsonValue:
        """See `ProviderConnection`."""
        while not self._unread:
            try:
                message = await self._ws.recv()
            except ConnectionClosed as exc:
                raise _closed(exc, self._scrubber) from exc
            self._unread.extend(self._rates.resample_provider_event(self._scrubber.scrub_event(_parsed(message))))
        return self._unread.popleft()

    async def _write_audio(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), MAX_APPEND_BYTES):
            audio = base64.b64encode(pcm[start : start + MAX_APPEND_BYTES])
            await self._write(b'{"type":"input_audio_buffer.append","audio":"%b"}' % audio)  # base64 needs no escapes

    async def _write(self, message: bytes) -> None:
        try:
            await self._ws.send(message, text=True)
        except ConnectionClosed as exc:
            raise _closed(exc, self._scrubber) from exc


async def _await_session_created(ws: ClientConnection, model: str, scrubber: Scrubber) -> None:
    """Wait for `session.created`; some providers accept every WebSocket and refuse in an event or a close code."""
    try:
        event = scrubber.scrub_event(_parsed(await ws.recv()))
    except ConnectionClosed as exc:
        if exc.rcvd is not None and exc.rcvd.code in _REFUSING_CLOSES:
            raise UpstreamRefusedError(f"{_REFUSED_KEY}; {_closed(exc, scrubber)}") from exc
        raise UpstreamUnavailableError(f"the provider hung up at once: {_closed(exc, scrubber)}") from exc
    if isinstance(event, dict) and event.get("type") == "session.created":
        return
    error = fields(event, "error") if isinstance(event, dict) else {}
    code = scrubber.scrub_line(text(error, "code") or text(error, "type"), _MAX_CODE)
    message = scrubber.scrub_line(text(error, "message"), _MAX_DETAIL)
    if "invalid_api_key" in code:
        raise UpstreamRefusedError(f"{_REFUSED_KEY} ({message})")
    if code in _REFUSING_CODES:
        raise UpstreamRefusedError(f"the provider opens no session with model {model!r}: {code} ({message})")
    raise UpstreamUnavailableError(f"the provider opens no session: {code or 'no session.created'} ({message})")


def _parsed(message: str | bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return value


def _closed(exc: ConnectionClosed, scrubber: Scrubber) -> UpstreamClosedError:
    if exc.rcvd is None:
        return UpstreamClosedError("the provider's connection broke")
    message = scrubber.scrub_line(exc.rcvd.reason, _MAX_DETAIL)
    return UpstreamClosedError(f"the provider closed with {exc.rcvd.code} {message}".rstrip())


def _cause(exc: Exception, scrubber: Scrubber) -> str:
    if isinstance(exc, socket.gaierror):
        return "has no address: correct the host in UPSTREAM_URL, or check DNS"
    if isinstance(exc, ssl.SSLError):
        return f"has no certificate that we trust ({exc.reason or 'TLS'}): correct UPSTREAM_URL or its certificate"
    if isinstance(exc, TimeoutError):
        return f"does not answer within {CONNECT_TIMEOUT_S:g} s: check the network and UPSTREAM_URL"
    message = scrubber.scrub_line(str(exc), _MAX_DETAIL) or type(exc).__name__
    return f"cannot be reached ({message}): is it running, and is UPSTREAM_URL right?"


def _error_of(body: bytes | bytearray | None, scrubber: Scrubber) -> str:
    """Return the error message in the body of an HTTP refusal; empty if the body has another shape."""
    try:
        answer = json.loads(body or b"")
    except (ValueError, RecursionError):
        return ""
    message = text(fields(answer, "error"), "message") if isinstance(answer, dict) else ""
    return scrubber.scrub_line(message, _MAX_DETAIL)
