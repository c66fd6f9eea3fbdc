"""One UDP port for all calls of a process: reads datagrams, hands each to its call, drops the rest in silence."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol as Interface

from services.media import metrics
from services.media.core import police
from services.media.core.datagrams import DatagramDropped, Protocol, answered_transaction, asked_ufrag, protocol
from services.media.core.path import Credentials, Request
from services.media.core.police import Police, Verdict
from services.media.core.routes import Address, Pair, Routes
from services.media.core.sctp import SctpDropped
from services.media.rtc import interfaces, sockets, stun
from services.media.rtc.sockets import NoAddressError, Plan
from services.media.rtc.stun import Check
from services.runtime import clock
from services.runtime.logging import get_logger

MAX_BURST = 512
"""Datagrams read before the pacer gets its turn again: 140 calls send 35 in 5 ms."""
_READ_BYTES = 2048


class Peer(Interface):
    """A call's transport, as the port sees it."""

    def credentials(self, ufrag: str) -> Credentials | None:
        """What a check for ``ufrag`` must be signed with."""

    def may_check(self, source: Address, *, now: float) -> Verdict:
        """Whether a check that claims to be for this call is worth looking at."""

    def checked(self, used: Credentials, check: Check, pair: Pair, *, now: float) -> None:
        """A verified check came; it has been answered."""

    def answered(self, data: bytes, transaction_id: bytes, pair: Pair, *, now: float) -> None:
        """What may be the response to a request of this call came."""

    def dtls(self, data: bytes, *, now: float) -> None:
        """A DTLS record came from one of the call's addresses."""

    def rtp(self, data: bytes, *, now: float) -> None:
        """SRTP or SRTCP came from one of the call's addresses."""

    def broke(self) -> None:
        """Handling a datagram failed with an error that nobody expected: it is being handled now."""


class UdpMux:
    """The port and its tables. Made by `open_mux`."""

    def __init__(self, entries: tuple[str, ...], *, port: int, everywhere: bool) -> None:
        self._entries = entries
        self._everywhere = everywhere
        self._by_datagrams = False
        plan = sockets.plan(entries, interfaces.present(), everywhere=everywhere)
        self._sockets = sockets.bind(plan, port)
        if not self._sockets:
            raise NoAddressError(entries)
        self.routes: Routes[Peer] = Routes()
        self._requests_police = Police(police.REQUESTS)
        self.port: int = next(iter(self._sockets.values())).getsockname()[1]
        self.addresses = self._reachable(plan)

    @property
    def bound(self) -> tuple[str, ...]:
        """Where datagrams are received."""
        return tuple(self._sockets)

    def rescan(self) -> None:
        """This machine's addresses have changed: bind what is new, close what is gone. Calls go on elsewhere."""
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
        """Give the port back."""
        self.wake_by_datagrams(on=False)
        for sock in self._sockets.values():
            sock.close()

    def send(self, data: bytes, pair: Pair) -> None:
        """Send a datagram from an address of ours to one of a client's; what the kernel does not take now is lost."""
        sock = self._sockets.get(pair.local)
        if sock is None:
            metrics.DATAGRAMS_UNSENT.labels("no_socket").inc()
            return
        try:
            sock.sendto(data, pair.remote)
        except BlockingIOError:
            metrics.DATAGRAMS_UNSENT.labels("buffer_full").inc()
        except OSError:  # the peer's network is unreachable from here, or a firewall of ours forbids it
            metrics.DATAGRAMS_UNSENT.labels("refused").inc()

    def wake_by_datagrams(self, *, on: bool) -> None:
        """Whether each datagram wakes the loop, or `read_all` is called again and again.

        With many calls a wake-up for each costs as much as the datagram itself.
        """
        self._by_datagrams = on
        for host in self._sockets:
            self._wake(host, on=on)

    def read_all(self) -> None:
        """Hand out what has come."""
        for local in self._sockets:
            self._read(local)

    def _wake(self, host: str, *, on: bool) -> None:
        loop = asyncio.get_running_loop()
        if on:
            loop.add_reader(self._sockets[host], self._read, host)
        else:
            loop.remove_reader(self._sockets[host])

    def _reachable(self, plan: Plan) -> tuple[tuple[str, int], ...]:
        """What is advertised, without what should be bound and is not."""
        missing = set(plan.bound) - self._sockets.keys()
        return tuple((host, self.port) for host in plan.advertised if host not in missing)

    def _read(self, local: str) -> None:
        """Read all, then look at them: the kernel's code and ours do not fit into the cache together."""
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
            self._take(data, source, local, now)

    def _take(self, data: bytes, source: Address, local: str, now: float) -> None:
        kind = protocol(data)
        if kind is Protocol.STUN:
            self._take_stun(data, Pair(local, source), now)
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

    def ask(self, request: Request, peer: Peer, *, now: float) -> None:
        """Send a binding request for ``peer``; one to an address that has never answered only as the limit allows."""
        if not request.consent and self._requests_police.check(now=now) is not Verdict.TAKE:
            metrics.DATAGRAMS_UNSENT.labels("too_many_checks").inc()
            return
        self.routes.ask(request.transaction_id, peer)
        self.send(stun.request(request), request.pair)

    def _take_stun(self, data: bytes, pair: Pair, now: float) -> None:
        if (transaction_id := answered_transaction(data)) is None:
            self._check(data, pair, now)
        elif (peer := self.routes.asker(transaction_id)) is None:
            drop("stun_unexpected")
        else:
            try:
                peer.answered(data, transaction_id, pair, now=now)
            except Exception:  # noqa: BLE001 - the edge: one call's failure must not stop the port of all
                peer.broke()

    def _check(self, data: bytes, pair: Pair, now: float) -> None:
        ufrag = asked_ufrag(data)
        if (peer := self.routes.named(ufrag)) is None:
            drop(ufrag if ufrag in ("stun_malformed", "stun_unexpected") else "stun_unknown_ufrag")  # type: ignore[arg-type]
            return
        if peer.may_check(pair.remote, now=now) is not Verdict.TAKE:
            drop("stun_too_many")
            return
        used = peer.credentials(ufrag)
        check = stun.verify(data, used) if used else None
        if used is None or check is None:
            drop("stun_unverified")
            return
        response = stun.response(check, pair.remote, used)
        if len(response) > len(data):
            drop("stun_too_short")  # its source may be forged: nothing longer than it goes there
            return
        self.send(response, pair)
        self.routes.learn(pair.remote, peer, proven=False)
        try:
            peer.checked(used, check, pair, now=now)
        except Exception:  # noqa: BLE001 - the edge: as above
            peer.broke()


def drop(reason: DatagramDropped | SctpDropped) -> None:
    """Count a datagram that is thrown away in silence."""
    metrics.DATAGRAMS_DROPPED.labels(reason).inc()


@contextmanager
def open_mux(advertised: tuple[str, ...], *, port: int = 0, everywhere: bool = False) -> Iterator[UdpMux]:
    """Bind the port, the same on all addresses, and read it while the block lasts.

    ``advertised`` is what clients are told, by preference, see `core/addresses.py`; `sockets.plan` says what is bound
    for it, and for ``everywhere``. Port 0 takes a free one. Addresses that were found are found again when they change.

    Raises:
        PortUnavailableError: it is taken.
        NoAddressError: there is nothing to bind.
    """
    mux = UdpMux(advertised, port=port, everywhere=everywhere)
    mux.wake_by_datagrams(on=True)
    try:
        with interfaces.watch(mux.rescan):
            yield mux
    finally:
        mux.close()
