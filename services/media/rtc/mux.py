"""One UDP port for all calls of a process: reads datagrams, hands each to its call, drops the rest in silence."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Protocol as Interface

from services.media import metrics
from services.media.core.datagrams import DatagramDropped, Protocol, asked_ufrag, protocol
from services.media.core.path import Credentials
from services.media.core.police import Verdict
from services.media.core.routes import Address, Routes
from services.media.core.sctp import SctpDropped
from services.media.rtc import stun
from services.media.rtc.stun import Check
from services.runtime import clock
from services.runtime.errors import HushgateError

MAX_BURST = 512
"""Datagrams read before the pacer gets its turn again: 140 calls send 35 in 5 ms."""
_BUFFER_BYTES = 4 * 1024 * 1024  # the kernel gives what it allows
_TRIES = 16
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - all interfaces is meant
_READ_BYTES = 2048


class PortUnavailableError(HushgateError):
    """The media port cannot be bound."""

    def __init__(self, address: str, port: int, cause: str) -> None:
        super().__init__(f"UDP port {port} of {address} cannot be bound ({cause}): choose another MEDIA_UDP_PORT")


class Peer(Interface):
    """A call's transport, as the port sees it."""

    def credentials(self, ufrag: str) -> Credentials | None:
        """What a check for ``ufrag`` must be signed with."""

    def may_check(self, source: Address, *, now: float) -> Verdict:
        """Whether a check that claims to be for this call is worth looking at."""

    def checked(self, used: Credentials, check: Check, source: Address, *, now: float) -> None:
        """A verified check came; it is learned already, and is answered afterwards."""

    def dtls(self, data: bytes, *, now: float) -> None:
        """A DTLS record came from one of the call's addresses."""

    def rtp(self, data: bytes, *, now: float) -> None:
        """SRTP or SRTCP came from one of the call's addresses."""

    def broke(self) -> None:
        """Handling a datagram failed with an error that nobody expected: it is being handled now."""


class UdpMux:
    """The port and its tables. Made by `open_mux`."""

    def __init__(self, sockets: dict[socket.AddressFamily, socket.socket], advertised: tuple[str, ...]) -> None:
        self._sockets = sockets
        self.routes: Routes[Peer] = Routes()
        self.port: int = next(iter(sockets.values())).getsockname()[1]
        self.addresses = tuple((host, self.port) for host in advertised)
        self.bound = tuple(str(sock.getsockname()[0]) for sock in sockets.values())

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram; what the kernel does not take now is lost, and counted."""
        family = socket.AF_INET if len(address) == 2 else socket.AF_INET6  # noqa: PLR2004 - (host, port)
        sock = self._sockets.get(family)
        if sock is None:
            metrics.DATAGRAMS_UNSENT.labels("no_socket").inc()
            return
        try:
            sock.sendto(data, address)
        except BlockingIOError:
            metrics.DATAGRAMS_UNSENT.labels("buffer_full").inc()
        except OSError:  # the peer's network is unreachable from here, or a firewall of ours forbids it
            metrics.DATAGRAMS_UNSENT.labels("refused").inc()

    def wake_by_datagrams(self, *, on: bool) -> None:
        """Whether each datagram wakes the loop, or `read_all` is called again and again.

        With many calls a wake-up for each costs as much as the datagram itself.
        """
        loop = asyncio.get_running_loop()
        for sock in self._sockets.values():
            if on:
                loop.add_reader(sock, self._read, sock)
            else:
                loop.remove_reader(sock)

    def read_all(self) -> None:
        """Hand out what has come."""
        for sock in self._sockets.values():
            self._read(sock)

    def _read(self, sock: socket.socket) -> None:
        """Read all, then look at them: the kernel's code and ours do not fit into the cache together."""
        came: list[tuple[bytes, Address]] = []
        for _ in range(MAX_BURST):
            try:
                came.append(sock.recvfrom(_READ_BYTES))
            except BlockingIOError:
                break
            except OSError:  # an ICMP error of an earlier datagram; the next read goes on
                metrics.DATAGRAMS_UNSENT.labels("refused").inc()
        now = clock.monotonic()
        for data, source in came:
            self._take(data, source, now)

    def _take(self, data: bytes, source: Address, now: float) -> None:
        kind = protocol(data)
        if kind is Protocol.STUN:
            self._check(data, source, now)
            return
        if not isinstance(kind, Protocol):
            drop(kind)
            return
        peer = self.routes.by_address.get(source)
        if peer is None:
            drop("unknown_source")
            return
        try:
            if kind is Protocol.RTP:
                peer.rtp(data, now=now)
            else:
                peer.dtls(data, now=now)
        except Exception:  # noqa: BLE001 - the edge: one call's failure must not stop the port of all
            peer.broke()

    def _check(self, data: bytes, source: Address, now: float) -> None:
        ufrag = asked_ufrag(data)
        if (peer := self.routes.named(ufrag)) is None:
            drop(ufrag if ufrag in ("stun_malformed", "stun_unexpected") else "stun_unknown_ufrag")  # type: ignore[arg-type]
            return
        if peer.may_check(source, now=now) is not Verdict.TAKE:
            drop("stun_too_many")
            return
        used = peer.credentials(ufrag)
        check = stun.verify(data, used) if used else None
        if used is None or check is None:
            drop("stun_unverified")
            return
        self.routes.learn(source, peer)
        peer.checked(used, check, source, now=now)
        self.send(stun.response(check, source, used), source)


def drop(reason: DatagramDropped | SctpDropped) -> None:
    """Count a datagram that is thrown away in silence."""
    metrics.DATAGRAMS_DROPPED.labels(reason).inc()


@contextmanager
def open_mux(advertised: tuple[str, ...], *, port: int = 0, everywhere: bool = False) -> Iterator[UdpMux]:
    """Bind the port, the same for IPv4 and IPv6, and read it while the block lasts.

    ``advertised`` are the addresses that clients reach, one of a family. One of this machine is bound; any other (a
    node's, a router's) is reached by forwarding, so all are; with ``everywhere`` always. Port 0 takes a free one.

    Raises:
        PortUnavailableError: it is taken, or there is no such address family here.
    """
    sockets = _bind(tuple(_ANY[ip_address(host).version] for host in advertised) if everywhere else advertised, port)
    mux = UdpMux(sockets, advertised)
    mux.wake_by_datagrams(on=True)
    try:
        yield mux
    finally:
        mux.wake_by_datagrams(on=False)
        for sock in sockets.values():
            sock.close()


def _bind(advertised: tuple[str, ...], port: int) -> dict[socket.AddressFamily, socket.socket]:
    """Both families on one port; where it is free to choose, a port that is taken for the second is tried again."""
    for last in reversed(range(_TRIES if port == 0 else 1)):
        sockets: dict[socket.AddressFamily, socket.socket] = {}
        chosen = port
        try:
            for host in advertised:
                sock = _bound(host, chosen)
                sockets[sock.family] = sock
                chosen = sock.getsockname()[1]
        except OSError as exc:
            for sock in sockets.values():
                sock.close()
            if not last:
                raise PortUnavailableError(", ".join(advertised), chosen, exc.strerror or str(exc)) from exc
        else:
            return sockets
    raise AssertionError("unreachable")  # pragma: no cover


def _bound(host: str, port: int) -> socket.socket:
    wanted = ip_address(host)
    family = socket.AF_INET if wanted.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    try:
        return _bound_to(family, host, port)
    except OSError:
        if _is_here(family, host):
            raise  # the address is ours, so it is the port that cannot be had
        return _bound_to(family, _ANY[wanted.version], port)


def _bound_to(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _is_here(family: socket.AddressFamily, host: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
