"""A real coturn with the configuration of docs/turn.md, and a client that sends one request at a time."""

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any, cast

from aioice import stun

from services.signaling.core.turn import Relays, ice_server

GUIDE = Path(__file__).parents[2] / "docs" / "turn.md"
COTURN = Path("/usr/bin/turnserver")
ADDRESS = "127.0.0.1"
UDP = 0x11000000
WAIT_S = 10.0
_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Coturn:
    """A running server."""

    port: int
    secret: str
    secret_file: Path

    def url(self, transport: str) -> str:
        """The TURN URL for clients."""
        return f"turn:{ADDRESS}:{self.port}?transport={transport}"

    def credential(self, name: str, *, now_unix_s: int) -> tuple[str, str]:
        """Return username and password as signaling makes them, valid for a minute from ``now_unix_s`` on."""
        server = ice_server(Relays((), ttl_s=60), self.secret.encode(), name=name, now_unix_s=now_unix_s)
        return server.username, server.credential


def documented() -> list[str]:
    """Return the lines of the guide's turnserver.conf."""
    (block,) = re.findall(r"```conf\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return [line for line in block.splitlines() if line.strip() and not line.startswith("#")]


def adapted(folder: Path, port: int, secret: str, **changes: str) -> str:
    """Return them for this machine: with its addresses and secret, without a certificate, and with ``changes``."""
    here = {
        "listening-port": str(port),
        "listening-ip": ADDRESS,
        "relay-ip": ADDRESS,
        "allowed-peer-ip": ADDRESS,
        "static-auth-secret": secret,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    lines = documented()
    names = [line.partition("=")[0] for line in lines]
    assert set(here) <= set(names)
    without_tls = [line for line in lines if line.partition("=")[0] not in {"tls-listening-port", "cert", "pkey"}]
    kept = [f"{name}={here[name]}" if (name := line.partition("=")[0]) in here else line for line in without_tls]
    own = ["no-tls", "no-dtls", "allow-loopback-peers", f"pidfile={folder}/coturn.pid", f"userdb={folder}/coturn.db"]
    return "\n".join([*kept, *own, ""])


@asynccontextmanager
async def coturn(folder: Path, **changes: str) -> AsyncIterator[Coturn]:
    """Run coturn; ``changes`` replace settings of the guide (with `_` for `-`)."""
    _check_installed()
    server = Coturn(_free_port(), secrets.token_hex(32), folder / "turn-secret")
    server.secret_file.write_text(server.secret)
    config = folder / "turnserver.conf"
    config.write_text(adapted(folder, server.port, server.secret, **changes))
    with (folder / "coturn.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(COTURN, "-c", config, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(WAIT_S), a_client(server.port) as client:
            while (await client.request(stun.Method.BINDING, patience_s=_AGAIN_S)) is None:
                assert process.returncode is None, (folder / "coturn.log").read_text()
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _check_installed() -> None:
    assert COTURN.exists(), "coturn is not installed: run `make test`, or sudo apt-get install coturn"


def _free_port() -> int:
    """Return a port that is free for UDP and TCP, below those that the system gives to connections."""
    while True:
        port = 22_000 + secrets.randbelow(8_000)
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp, contextlib.suppress(OSError):
            udp.bind((ADDRESS, port))
            tcp.bind((ADDRESS, port))
            return port


class TurnClient(asyncio.DatagramProtocol):
    """A client with one five-tuple, so with one allocation at most."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._answers: asyncio.Queue[stun.Message] = asyncio.Queue()
        self._closed = asyncio.Event()
        self._user, self._key, self._realm, self._nonce = "", b"", "", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def error_received(self, _: Exception) -> None:
        """Ignore it: the server does not listen yet, and `request` times out."""

    def datagram_received(self, data: bytes, _: tuple[str | Any, int]) -> None:
        self._answers.put_nowait(stun.parse_message(data))

    async def request(self, method: stun.Method, *, patience_s: float = WAIT_S, **attributes: object) -> int | None:
        """Send a request; return its error code, 0 for success, None for no reply. Attributes have `_` for `-`."""
        request = stun.Message(message_method=method, message_class=stun.Class.REQUEST)
        request.attributes.update({name.replace("_", "-"): value for name, value in attributes.items()})
        if self._key:
            request.attributes.update({"USERNAME": self._user, "REALM": self._realm, "NONCE": self._nonce})
            request.add_message_integrity(self._key)
        assert self._transport is not None
        self._transport.sendto(bytes(request))
        try:
            async with asyncio.timeout(patience_s):
                answer = await self._answers.get()
        except TimeoutError:
            return None
        if "NONCE" in answer.attributes:
            self._realm, self._nonce = answer.attributes["REALM"], answer.attributes["NONCE"]
        return answer.error_code or 0

    async def allocate(self, user: str, password: str) -> int | None:
        """Request an allocation with a credential; return the error code, 0 for success."""
        assert await self.request(stun.Method.ALLOCATE, REQUESTED_TRANSPORT=UDP) == 401  # nobody gets one without
        self._user = user
        # The key is MD5 by RFC 8489, section 9.2.2; what it signs here is short-lived.
        self._key = md5(f"{user}:{self._realm}:{password}".encode(), usedforsecurity=False).digest()
        return await self.request(stun.Method.ALLOCATE, REQUESTED_TRANSPORT=UDP)

    async def permit(self, address: str) -> int | None:
        """Request a permission for ``address``; return the error code, 0 for success."""
        return await self.request(stun.Method.CREATE_PERMISSION, XOR_PEER_ADDRESS=(address, 9))

    def connection_lost(self, _: Exception | None) -> None:
        self._closed.set()

    async def close(self) -> None:
        assert self._transport is not None
        self._transport.close()
        await self._closed.wait()


@asynccontextmanager
async def a_client(port: int) -> AsyncIterator[TurnClient]:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_datagram_endpoint(TurnClient, remote_addr=(ADDRESS, port))
    try:
        yield client
    finally:
        await client.close()
