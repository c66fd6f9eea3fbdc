"""One UDP port for all calls of a process: reads datagrams, routes each to its call, drops the rest without a reply."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol as Interface

from services.media import metrics
from services.media.core.network import rate_limiter
from services.media.core.network.datagrams import DatagramDropped, Protocol, answered_transaction, asked_ufrag, protocol
from services.media.core.network.ice_path import Credentials, Request
from services.media.core.network.rate_limiter import RateLimiter, Verdict
from services.media.core.network.routes import Address, Pair, Routes
from services.media.core.network.sctp_inspector import SctpDropped
from services.media.legs.webrtc import interfaces, sockets, stun
from services.media.legs.webrtc.sockets import NoAddressError, Plan
from services.media.legs.webrtc.stun import Check
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger

MAX_BURST = 512
"""Datagrams read before the pacer runs again: 140 calls send 35 in 5 ms."""
_READ_BYTES = 2048


class PacketConsumer(Interface):
    """Receives the media packets of a call."""

    def on_packet(self, data: bytes, *, now: float) -> None:
        """Handle an SRTP or SRTCP packet. ``now``: monotonic seconds, when it was read."""


class Peer(Interface):
    """The interface of a call's transport to the port."""

    def credentials(self, ufrag: str) -> Credentials | None:
        """Return the credentials that a check for ``ufrag`` must be signed with; None: unknown."""

    def may_check(self, source: Address, *, now: float) -> Verdict:
        """Rate-limit a check for this call from ``source``, before it is verified."""

    def on_check(self, used: Credentials, check: Check, pair: Pair, *, now: float) -> None:
        """Handle a verified check, signed with ``used``; the response has been sent."""

    def on_response(self, data: bytes, transaction_id: bytes, pair: Pair, *, now: float) -> None:
        """Handle a binding response with a transaction id of this call; it is not verified yet."""

    def on_dtls(self, data: bytes, *, now: float) -> None:
        """Handle a DTLS datagram from one of the call's addresses."""

    @property
    def packets(self) -> PacketConsumer:
        """The receiver of SRTP and SRTCP from the call's addresses."""

    def failed(self) -> None:
        """End the call: handling a datagram raised an unexpected error. Called in the except block."""


class UdpMux:
    """The port and its routing tables. Made by `open_mux`."""

    def __init__(self, entries: tuple[str, ...], *, port: int, everywhere: bool) -> None:
        self._entries = entries
        self._everywhere = everywhere
        self._by_datagrams = False
        plan = sockets.plan(entries, interfaces.present(), everywhere=everywhere)
        self._sockets = sockets.bind(plan, port)
        if not self._sockets:
            raise NoAddressError(entries)
        self.routes: Routes[Peer] = Routes()
        self._requests_limiter = RateLimiter(rate_limiter.REQUESTS)
        self.port: int = next(iter(self._sockets.values())).getsockname()[1]
        self.addresses = self._reachable(plan)

    @property
    def bound(self) -> tuple[str, ...]:
        """The addresses on which datagrams are received."""
        return tuple(self._sockets)

    def rescan(self) -> None:
        """Bind new addresses of this machine and close removed ones. Calls continue on the others."""
        plan = sockets.plan(self._entries, interfaces.present(), everywhere=self._everywhere)
        for host in self._sockets.keys() - set(plan.bound):
            self._wake(host, on=False)
            self._sockets.pop(host).close()
        for host in plan.bound:
            if host in self._sockets:
                continue
            try:
                self._sockets[host] = sockets.bind_one(host, self.port)
            except OSError as exc:
                get_logger().warning("media_address_unusable", address=host, port=self.port, reason=exc.strerror)
                continue
            self._wake(host, on=self._by_datagrams)
        before, self.addresses = self.addresses, self._reachable(plan)
        if self.addresses != before:
            get_logger().info("media_address", advertised=[host for host, _ in self.addresses], bound=self.bound)

    def close(self) -> None:
        """Close all sockets."""
        self.wake_by_datagrams(on=False)
        for sock in self._sockets.values():
            sock.close()

    def send_datagram(self, data: bytes, pair: Pair) -> None:
        """Send a datagram by ``pair``; dropped if the socket's buffer is full or the address is unreachable."""
        sock = self._sockets.get(pair.local)
        if sock is None:
            metrics.DATAGRAMS_UNSENT.labels("no_socket").inc()
            return
        try:
            sock.sendto(data, pair.remote)
        except BlockingIOError:
            metrics.DATAGRAMS_UNSENT.labels("buffer_full").inc()
        except OSError:  # the peer's network is unreachable, or a local firewall forbids it
            metrics.DATAGRAMS_UNSENT.labels("refused").inc()

    def wake_by_datagrams(self, *, on: bool) -> None:
        """Choose whether each datagram wakes the event loop (``on``), or the caller polls by `read_all`.

        With many calls a wake-up for each datagram costs as much as handling it.
        """
        self._by_datagrams = on
        for host in self._sockets:
            self._wake(host, on=on)

    def read_all(self) -> None:
        """Read and route all datagrams received by now."""
        for local in self._sockets:
            self._read(local)

    def _wake(self, host: str, *, on: bool) -> None:
        loop = asyncio.get_running_loop()
        if on:
            loop.add_reader(self._sockets[host], self._read, host)
        else:
            loop.remove_reader(self._sockets[host])

    def _reachable(self, plan: Plan) -> tuple[tuple[str, int], ...]:
        """The advertised addresses but for those that could not be bound."""
        missing = set(plan.bound) - self._sockets.keys()
        return tuple((host, self.port) for host in plan.advertised if host not in missing)

    def _read(self, local: str) -> None:
        """Read a batch before handling it: the kernel's code and ours do not fit into the cache together."""
        sock = self._sockets[local]
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
            self._route(data, source, local, now)

    def _route(self, data: bytes, source: Address, local: str, now: float) -> None:
        kind = protocol(data)
        if kind is Protocol.STUN:
            self._on_stun(data, Pair(local, source), now)
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
                peer.packets.on_packet(data, now=now)
            else:
                peer.on_dtls(data, now=now)
        except Exception:  # noqa: BLE001 - the edge: one call's failure must not stop the port of all
            peer.failed()

    def send_request(self, request: Request, peer: Peer, *, now: float) -> None:
        """Send a binding request for ``peer``; to an address that never answered only within the rate limit."""
        if not request.consent and self._requests_limiter.check(now=now) is not Verdict.ACCEPT:
            metrics.DATAGRAMS_UNSENT.labels("too_many_checks").inc()
            return
        self.routes.add_request(request.transaction_id, peer)
        self.send_datagram(stun.request(request), request.pair)

    def _on_stun(self, data: bytes, pair: Pair, now: float) -> None:
        if (transaction_id := answered_transaction(data)) is None:
            self._on_check(data, pair, now)
        elif (peer := self.routes.requester(transaction_id)) is None:
            drop("stun_unexpected")
        else:
            try:
                peer.on_response(data, transaction_id, pair, now=now)
            except Exception:  # noqa: BLE001 - the edge: one call's failure must not stop the port of all
                peer.failed()

    def _on_check(self, data: bytes, pair: Pair, now: float) -> None:
        ufrag = asked_ufrag(data)
        if (peer := self.routes.peer_of(ufrag)) is None:
            drop(ufrag if ufrag in ("stun_malformed", "stun_unexpected") else "stun_unknown_ufrag")  # type: ignore[arg-type]
            return
        if peer.may_check(pair.remote, now=now) is not Verdict.ACCEPT:
            drop("stun_too_many")
            return
        used = peer.credentials(ufrag)
        check = stun.verify(data, used) if used else None
        if used is None or check is None:
            drop("stun_unverified")
            return
        response = stun.response(check, pair.remote, used)
        if len(response) > len(data):
            drop("stun_too_short")  # its source may be forged: no response may be longer than the request
            return
        self.send_datagram(response, pair)
        self.routes.learn(pair.remote, peer, proven=False)
        try:
            peer.on_check(used, check, pair, now=now)
        except Exception:  # noqa: BLE001 - the edge: as above
            peer.failed()


def drop(reason: DatagramDropped | SctpDropped) -> None:
    """Count a dropped datagram."""
    metrics.DATAGRAMS_DROPPED.labels(reason).inc()


@contextmanager
def open_mux(advertised: tuple[str, ...], *, port: int = 0, everywhere: bool = False) -> Iterator[UdpMux]:
    """Bind the port, the same on all addresses, and read it while the block lasts.

    ``advertised``: what clients are given, by preference, see `core/network/addresses.py`; `sockets.plan` derives from
    it and from ``everywhere`` what is bound. Port 0: a free one. Addresses of interfaces are re-read when they change.

    Raises:
        PortUnavailableError: it is in use.
        NoAddressError: there is nothing to bind.
    """
    mux = UdpMux(advertised, port=port, everywhere=everywhere)
    mux.wake_by_datagrams(on=True)
    try:
        with interfaces.watch(mux.rescan):
            yield mux
    finally:
        mux.close()
