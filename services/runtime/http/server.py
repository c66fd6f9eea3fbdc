"""Serves an ASGI application in a process that owns its event loop and signals."""

import asyncio
import contextlib
import resource
import socket
from asyncio import sslproto
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from services.runtime.errors import AddressInUseError, HushgateError
from services.runtime.http.connections import Connections, HttpLimits
from services.runtime.http.protocol import HttpConnection, WebSocket
from services.runtime.telemetry import metrics
from services.runtime.telemetry.logging import get_logger

_ACCEPTS_AT_ONCE = 128  # in one loop iteration, before requests are handled
_FILES_FOR_ALL_ELSE = 256 + _ACCEPTS_AT_ONCE
_BACKLOG = 4096
_REST_S = 5
_TLS_BUFFER_BYTES = 32 * 1024  # two records; asyncio keeps 256 KB for each connection, 1 GB for 4,096


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of the PEM files."""

    cert: Path
    key: Path


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which belong to `runtime.process`, and with our limits."""

    def __init__(self, config: uvicorn.Config, limits: HttpLimits) -> None:
        super().__init__(config)
        self._limits = limits
        self._held = Connections(limits)
        metrics.HTTP_CONNECTIONS.set_function(lambda: len(self._held))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept. TLS starts after that, so that handshakes count against the connection limit, too."""
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock in sockets or []:
            self.servers.append(await loop.create_server(self._connection, sock=sock, backlog=_ACCEPTS_AT_ONCE))
            sock.listen(_BACKLOG)  # the kernel's backlog differs from how many are accepted at once
        self.started = True

    def _connection(self) -> HttpConnection:
        return HttpConnection(
            self.config, self.server_state, connections=self._held, limits=self._limits, tls=self.config.ssl
        )


def _within_file_limit(limits: HttpLimits) -> HttpLimits:
    """Lower the limit where the process may open fewer files: without a free descriptor it accepts nothing at all."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(16, files - _FILES_FOR_ALL_ELSE)
    if limits.max_connections <= most:
        return limits
    get_logger().warning("http_connections_limited_by_files", wanted=limits.max_connections, most=most, files=files)
    return replace(limits, max_connections=most)


def listen(host: str, port: int) -> socket.socket:
    """Bind a TCP socket; port 0 binds a free one.

    Raises:
        AddressInUseError: in use, forbidden or not an address of this machine.
    """
    try:
        family, kind, proto, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)[0]
        # asyncio sets TCP_NODELAY only where TCP is named; without it answers wait 40 ms for the client's delayed ACK.
        sock = socket.socket(family, kind, proto)
    except OSError as exc:
        raise AddressInUseError(host, port, exc.strerror or str(exc)) from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)  # at once: two sockets may be bound to a port as long as neither listens
    except OSError as exc:
        sock.close()
        raise AddressInUseError(host, port, exc.strerror or str(exc)) from exc
    sock.setblocking(False)  # noqa: FBT003 - positional only
    return sock


@asynccontextmanager
async def serve_http(
    app: FastAPI,
    *,
    host: str,
    port: int,
    tls: Tls | None = None,
    limits: HttpLimits | None = None,
    max_websocket_bytes: int = 0,
) -> AsyncIterator[str]:
    """Serve ``app`` while the block runs; yields the base URL.

    ``max_websocket_bytes``: the longest message that a client of a WebSocket may send; 0: there are no WebSockets.

    Raises:
        AddressInUseError: the address cannot be bound.
        HushgateError: the certificate cannot be used.
    """
    bounds = _within_file_limit(limits or HttpLimits())
    sock = listen(host, port)
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        ws=WebSocket if max_websocket_bytes else "none",
        ws_max_size=max_websocket_bytes,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        workers=1,
        timeout_keep_alive=_REST_S,
        timeout_graceful_shutdown=1,
        proxy_headers=bool(bounds.trusted_proxies),
        forwarded_allow_ips=list(bounds.trusted_proxies),
        ws_per_message_deflate=False,  # base64 of speech does not shrink
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    try:
        config.load()
    except OSError as exc:  # ssl.SSLError is one
        sock.close()
        raise HushgateError(f"cannot use the TLS certificate or key: {exc}") from exc
    if config.ssl is not None:
        sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
    server = _Server(config, bounds)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    try:
        bound_host, bound_port = sock.getsockname()[:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"{'https' if tls else 'http'}://{shown}:{bound_port}"
    finally:
        server.should_exit = True
        await task
