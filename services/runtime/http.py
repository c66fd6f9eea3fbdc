"""Serves an ASGI application inside a process that owns its own loop and signals."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from services.runtime.errors import AddressInUseError, HushgateError


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM."""

    cert: Path
    key: Path


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to `runtime.process`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """Bind a TCP socket; port 0 takes a free one.

    Raises:
        AddressInUseError: taken, forbidden or not an address of this machine.
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
async def serve_http(app: FastAPI, *, host: str, port: int, tls: Tls | None = None) -> AsyncIterator[str]:
    """Serve ``app`` while the block runs; gives the base URL.

    Raises:
        AddressInUseError: the address cannot be bound.
        HushgateError: the certificate cannot be used.
    """
    sock = listen(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
        ws_per_message_deflate=False,  # base64 of speech does not shrink
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    try:
        config.load()
    except OSError as exc:  # ssl.SSLError is one
        sock.close()
        raise HushgateError(f"cannot use the TLS certificate or key: {exc}") from exc
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    try:
        bound_host, bound_port = sock.getsockname()[:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"{'https' if tls else 'http'}://{shown}:{bound_port}"
    finally:
        server.should_exit = True
        await task
