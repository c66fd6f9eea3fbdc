"""Sends raw bytes to an HTTP listener and reads the reply: no HTTP client would send what these tests do."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from services.runtime.process.health import Health, add_routes

WITHIN_S = 20.0


@dataclass(slots=True)
class Raw:
    """A TCP connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send a request; returns the answer's status and body, by its Content-Length."""
        self.writer.write(data)
        return await self.answer()

    async def answer(self) -> tuple[int, bytes]:
        async with asyncio.timeout(WITHIN_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
            return int(head.split(b" ")[1]), await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Read everything until the server closes."""
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read()
        return b""


@asynccontextmanager
async def raw(url: str, *, local: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(local, 0), ssl=tls)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@dataclass(slots=True)
class Echo:
    """An application that returns the request; `/hold` answers on an event, `/large` with more than buffers hold."""

    held: asyncio.Event = field(default_factory=asyncio.Event)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> FastAPI:
        app = FastAPI()
        add_routes(app, Health())

        @app.api_route("/echo", methods=["GET", "POST"])
        async def echo(request: Request) -> Response:
            body = await request.body()
            client = request.client.host if request.client else ""
            got = {"body": body.decode("latin1"), "scheme": request.url.scheme, "client": client}
            return JSONResponse(got)

        @app.get("/hold")
        async def hold() -> Response:
            self.held.set()
            await self.let.wait()
            return Response("held")

        @app.get("/large")
        async def large() -> Response:
            return Response(b"x" * (1 << 26))

        @app.post("/unread")
        async def unread() -> Response:
            return Response("not read", 401)

        return app


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()
