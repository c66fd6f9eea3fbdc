"""A bad network without root: a UDP relay between clients and a gateway, like a NAT on a poor link.

It stands in the answer in place of the gateway (`rewrite_answer`). The gateway takes no candidate of a client from its
offer, so it learns of the relay's ports, one for each of a client's, by the client's checks.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address

from services.runtime import clock
from tests.network.answer import gateway_address, with_one_candidate
from tests.network.fate import CLEAN, Conditions, Drop, ImpairedDirection, lane
from tests.network.flight import InFlight

SocketAddress = tuple[str | int, ...]
"""As in `socket`: two parts with IPv4, four with IPv6."""
_SO_TIMESTAMPNS = 35  # Linux: the kernel says when a datagram came, however late it is read
_SEQUENCE = struct.Struct(">H")  # RFC 3550: behind two bytes of flags and type; SRTP leaves it open
_TIMESPEC = struct.Struct("@ll")
_MAX_DATAGRAM = 65_536
_BUFFER_BYTES = 1 << 20


class Port:
    """A bound UDP socket that calls ``received`` with datagram, sender, and arrival in monotonic seconds."""

    def __init__(self, host: str, received: Callable[[bytes, SocketAddress, float], None]) -> None:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((host, 0))
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)
        self.number = int(self._socket.getsockname()[1])
        self.unsent = 0

    def send(self, datagram: bytes, to: SocketAddress) -> None:
        """Send, or count a datagram that the socket does not accept: UDP promises nothing."""
        try:
            self._socket.sendto(datagram, to)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        """Close the port."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        ahead_s = clock.unix_ms() / 1000 - clock.monotonic()
        while True:
            try:
                datagram, extra, _, sender = self._socket.recvmsg(_MAX_DATAGRAM, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return
            self._received(datagram, sender, _stamp(extra) - ahead_s)


def _stamp(extra: list[tuple[int, int, bytes]]) -> float:
    """The kernel's arrival time in Unix seconds."""
    ((_, _, stamp),) = extra
    seconds, nanoseconds = _TIMESPEC.unpack(stamp)
    return float(seconds + nanoseconds / 1e9)


class ImpairedLine:
    """One direction at run time: decides by its `ImpairedDirection`, and holds delayed datagrams until they arrive."""

    def __init__(self, way: ImpairedDirection, *, began: float) -> None:
        self.way = way
        self._began = began
        self._loop = asyncio.get_running_loop()
        self._flying: InFlight[Callable[[], None]] = InFlight()
        self._timer: asyncio.TimerHandle | None = None
        self.arrivals: dict[int, float] = {}
        """RTP packets by sequence number: their simulated arrival, however late this process is."""

    def forward(self, datagram: bytes, came: float, deliver: Callable[[], None]) -> None:
        """Apply the network to ``datagram``, sent at ``came``; ``deliver`` is called if and when it arrives."""
        fate = self.way.decide(datagram, now=came - self._began)
        if isinstance(fate, Drop):
            return
        if lane(datagram) == "media":
            self.arrivals[_SEQUENCE.unpack_from(datagram, 2)[0]] = self._began + fate.at
        self._flying.add(deliver, at=fate.at)
        self._deliver()

    def close(self) -> None:
        """Deliver nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> float:
        return self._loop.time() - self._began

    def _deliver(self) -> None:
        self.close()
        for deliver in self._flying.arrived(now=self._now()):
            deliver()
        if (next_at := self._flying.next_at) is not None:
            self._timer = self._loop.call_at(self._began + next_at, self._deliver)


@dataclass(slots=True)
class Nat:
    """The ports that a client has had towards the gateway. Only the newest is open."""

    ports: list[Port] = field(default_factory=list)

    @property
    def newest(self) -> Port:
        """The port that the gateway sees."""
        return self.ports[-1]


class Impairer:
    """The network between any number of clients and one gateway. Use `impairer`."""

    def __init__(self, host: str, *, up: ImpairedDirection, down: ImpairedDirection) -> None:
        began = asyncio.get_running_loop().time()
        self.host = host
        self.up = up
        self.down = down
        self.stale = 0
        """Datagrams of the gateway to a port from before a rebind."""
        self.homeless = 0
        """Datagrams of clients before `rewrite_answer` set the gateway's address."""
        self._up_line, self._down_line = ImpairedLine(up, began=began), ImpairedLine(down, began=began)
        self._front = Port(host, self._from_client)
        self._nats: dict[SocketAddress, Nat] = {}
        self._gateway: SocketAddress | None = None
        self._news = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that clients send to."""
        return self._front.number

    @property
    def gateway_side(self) -> tuple[int, ...]:
        """The ports under which the gateway currently sees the clients."""
        return tuple(nat.newest.number for nat in self._nats.values())

    @property
    def down_arrivals(self) -> dict[int, float]:
        """Arrival of the gateway's RTP packets at the client, by sequence number, in monotonic seconds."""
        return self._down_line.arrivals

    def set_gateway(self, address: SocketAddress) -> None:
        """Forward to this gateway."""
        self._gateway = address

    def rewrite_answer(self, sdp: str) -> str:
        """Return the answer with this network's address in place of the gateway's."""
        self.set_gateway(gateway_address(sdp))
        return with_one_candidate(sdp, self.host, self.port)

    def set(self, *, up: Conditions | None = None, down: Conditions | None = None) -> None:
        """Change the conditions from now on."""
        self.up.conditions = up or self.up.conditions
        self.down.conditions = down or self.down.conditions

    def black_out(self, *, dark: bool = True) -> None:
        """Drop everything in both directions, until called with ``dark=False``."""
        self.up.dark = self.down.dark = dark

    def rebind(self) -> None:
        """Give all clients a new port towards the gateway. Datagrams to the old ones are dropped."""
        for client, nat in self._nats.items():
            nat.ports.append(self._towards_gateway(client))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until ``true`` returns true; checked after every datagram."""
        while not true():
            await self._news.wait()

    def close(self) -> None:
        """Close all ports; datagrams in flight are lost."""
        self._up_line.close()
        self._down_line.close()
        for port in (self._front, *(port for nat in self._nats.values() for port in nat.ports)):
            port.close()

    def _from_client(self, datagram: bytes, client: SocketAddress, came: float) -> None:
        if self._gateway is None:
            self.homeless += 1
            self._wake_waiters()
            return
        if client not in self._nats:
            self._nats[client] = Nat([self._towards_gateway(client)])
        self._up_line.forward(datagram, came, partial(self._to_gateway, datagram, self._nats[client], self._gateway))
        self._wake_waiters()

    def _to_gateway(self, datagram: bytes, nat: Nat, gateway: SocketAddress) -> None:
        nat.newest.send(datagram, gateway)

    def _towards_gateway(self, client: SocketAddress) -> Port:
        def received(datagram: bytes, _: SocketAddress, came: float) -> None:
            if port is self._nats[client].newest:
                self._down_line.forward(datagram, came, partial(self._front.send, datagram, client))
            else:
                self.stale += 1
            self._wake_waiters()

        port = Port(self.host, received)
        return port

    def _wake_waiters(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


@asynccontextmanager
async def impairer(
    *, up: Conditions = CLEAN, down: Conditions = CLEAN, seed: str = "1", host: str = "127.0.0.1"
) -> AsyncIterator[Impairer]:
    """A network on ``host`` (IPv4 or IPv6) while the block runs."""
    network = Impairer(host, up=ImpairedDirection(f"{seed} up", up), down=ImpairedDirection(f"{seed} down", down))
    try:
        yield network
    finally:
        network.close()
