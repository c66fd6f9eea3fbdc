"""A call's datagrams on the shared port: the ICE path to its client, and the queue of DTLS records for aiortc."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core.network import dtls, rate_limiter
from services.media.core.network.ice_path import Credentials, Path, PathStep
from services.media.core.network.rate_limiter import RateLimiter, Verdict
from services.media.core.network.routes import Address, Pair
from services.media.core.sdp import RemoteTransport
from services.media.legs.webrtc import stun
from services.media.legs.webrtc.inbound import Inbound
from services.media.legs.webrtc.mux import UdpMux, drop
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.stun import Check
from services.runtime import clock

MAX_QUEUED_RECORDS = 64
_DATA = [dtls.APPLICATION_DATA]
_TRANSACTION_ID_BYTES = 12
_PASSWORD_BYTES = 18  # 24 characters; RFC 8445 §5.3 requires 128 bits


class Transport:
    """One leg's ICE transport: a `mux.Peer`, and the `DatagramPath` of the leg's DTLS."""

    role = "controlled"  # only the client nominates (core/network/ice_path.py)

    def __init__(self, mux: UdpMux, inbound: Inbound, link: OwnerLink, *, remote: RemoteTransport) -> None:
        self._mux = mux
        self.packets = inbound
        self._link = link
        self._path = Path(lambda: secrets.token_bytes(_TRANSACTION_ID_BYTES))
        self._timer: asyncio.TimerHandle | None = None
        self._strangers, self._own_checks = RateLimiter(rate_limiter.CHECKS), RateLimiter(rate_limiter.CHECKS)
        self._handshake_limiter, self._records_limiter = (
            RateLimiter(rate_limiter.HANDSHAKE),
            RateLimiter(rate_limiter.DTLS),
        )
        self._late_limiter = RateLimiter(rate_limiter.LATE_HANDSHAKE)
        self._records: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._record_consumer: Callable[[bytes, int], bool] | None = None
        self._closed = False
        self._finished = False  # the client has closed DTLS
        self.reached = asyncio.Event()
        self.local = self.new_credentials(remote)

    @property
    def address(self) -> Address | None:
        """The client's address on the selected pair; None before one is selected."""
        return self._path.selected.remote if self._path.selected is not None else None

    def new_credentials(self, remote: RemoteTransport) -> Credentials:
        """Accept checks of a new ICE generation, too; the first one received retires the generations before it."""
        # The port distinguishes the processes of a pod, so a relay could route by the ufrag alone.
        ufrag = self._mux.routes.add(self, lambda: f"{self._mux.port:04x}{secrets.token_hex(4)}")
        self.local = Credentials(ufrag, secrets.token_hex(_PASSWORD_BYTES), remote.ufrag, remote.password)
        for dead in self._path.restart(self.local):
            self._mux.routes.retire(dead.ufrag)
        return self.local

    def send_datagram(self, data: bytes) -> None:
        """Send to the client; dropped unless a pair is selected and its consent is fresh."""
        if self._path.selected is not None:
            self._mux.send_datagram(data, self._path.selected)
        else:
            metrics.DATAGRAMS_UNSENT.labels("no_consent").inc()

    def set_record_consumer(self, consume: Callable[[bytes, int], bool]) -> None:
        """Pass DTLS datagrams, each with its number of records, to ``consume`` until that returns False."""
        self._record_consumer = consume

    def close(self) -> None:
        """Remove the leg from the port: nothing is received any more, and a waiting `_recv` raises."""
        self._closed = True
        self._mux.routes.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        self._arrived.set()

    # --- mux.Peer ---

    def credentials(self, ufrag: str) -> Credentials | None:
        """Return the credentials that a check for ``ufrag`` must be signed with; None: unknown."""
        return self._path.credentials(ufrag)

    def may_check(self, source: Address, *, now: float) -> Verdict:
        """Rate-limit a check before it is verified; the client's own addresses have a bucket of their own."""
        known = self._mux.routes.by_address.get(source) is self
        return (self._own_checks if known else self._strangers).check(now=now)

    def on_check(self, used: Credentials, check: Check, pair: Pair, *, now: float) -> None:
        """Handle a verified check: send one of ours where it nominates, or where it is if the path was silent."""
        self._carry_out(
            self._path.checked(used, pair, nominates=check.nominates, silent_s=now - self.packets.received_at, now=now),
            now,
        )
        if pair == self._path.selected:
            self.packets.on_authenticated(now=now)

    def on_response(self, data: bytes, transaction_id: bytes, pair: Pair, *, now: float) -> None:
        """Handle a response to a check of ours; its pair may become the selected one."""
        if (credentials := self._path.request_credentials(pair, transaction_id)) is None:
            drop("stun_unexpected")
        elif not stun.is_signed(data, credentials):
            drop("stun_unverified")
        else:
            self._mux.routes.learn(pair.remote, self, proven=True)
            self._carry_out(self._path.answered(pair, now=now), now)
            self.packets.on_authenticated(now=now)

    def on_dtls(self, data: bytes, *, now: float) -> None:
        """Handle a DTLS datagram; during the handshake it is queued for aiortc."""
        types = dtls.content_types(data)
        if self._link.flooded or types is None:
            drop("after_flood" if self._link.flooded else "dtls_malformed")
            return
        consume = self._record_consumer
        verdict = (self._handshake_limiter if consume is None else self._records_limiter).check(now=now)
        if verdict is not Verdict.ACCEPT:
            drop("dtls_too_many")
            if verdict is Verdict.FLOOD:
                self._link.fail("dtls_flood", EndReason.FLOOD)
        elif consume is None or self._records:
            self._queue(data)
        elif types != _DATA and self._is_late(types, now):
            drop("dtls_handshake_too_many")
        else:
            began = clock.cpu_s()
            self._deliver(data, len(types), consume)
            self._link.charge_cpu(began, now=now)

    def failed(self) -> None:
        """Close the leg: handling a datagram raised. Called in the except block."""
        self._link.fail("receive", EndReason.INTERNAL)

    # --- private.DatagramPath ---

    async def _recv(self) -> bytes:
        while not self._records:
            if self._closed or self._finished:
                raise ConnectionError
            self._arrived.clear()
            await self._arrived.wait()
        return self._records.popleft()

    async def _send(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionError
        self.send_datagram(data)

    def _carry_out(self, step: PathStep, now: float) -> None:
        for credentials in step.dead:
            self._mux.routes.retire(credentials.ufrag)
        for request in step.requests:
            self._mux.send_request(request, self, now=now)
        for result in step.results:
            metrics.PATH_CHECKS.labels(result).inc()
        if step.news is not None and self._path.selected is not None:
            self._mux.routes.refresh(self._path.selected.remote, self)
            self.reached.set()
            if step.news != "first":
                self.packets.on_path_changed(step.news)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._path.due
        waits = due is not None and not self._closed
        self._timer = asyncio.get_running_loop().call_at(due, self._on_timer) if waits else None  # type: ignore[arg-type]

    def _on_timer(self) -> None:
        now = clock.monotonic()
        try:
            self._carry_out(self._path.on_timer(now=now), now)
        except Exception:  # noqa: BLE001 - the edge of a timer: the leg ends, with a reason
            self.failed()

    def _queue(self, data: bytes) -> None:
        if len(self._records) >= MAX_QUEUED_RECORDS:
            drop("dtls_backlog")
            return
        self._records.append(data)
        self._arrived.set()

    def _is_late(self, types: list[int], now: float) -> bool:
        """Whether too many handshake records follow the handshake; a few are explained by a lost last flight."""
        late = len(types) - types.count(dtls.APPLICATION_DATA)
        return late > 0 and self._late_limiter.check(now=now, cost=late) is not Verdict.ACCEPT

    def _deliver(self, data: bytes, records: int, consume: Callable[[bytes, int], bool]) -> None:
        try:
            is_open = consume(data, records)
        except ConnectionError:
            is_open = False
        if not is_open:
            self._finished = True
            self._arrived.set()  # wakes aiortc's pending `_recv`
