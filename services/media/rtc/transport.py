"""A call's datagrams on the shared port: the path to its client, and DTLS records on their way to aiortc."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Protocol

from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core import dtls, police
from services.media.core.path import Credentials, Path, Step
from services.media.core.police import Police, Verdict
from services.media.core.presence import How
from services.media.core.routes import Address, Pair
from services.media.core.sdp import RemoteTransport
from services.media.rtc import stun
from services.media.rtc.mux import UdpMux, drop
from services.media.rtc.stun import Check
from services.runtime import clock

MAX_QUEUED_RECORDS = 64
_DATA = [dtls.APPLICATION_DATA]
_TRANSACTION_ID_BYTES = 12
_PASSWORD_BYTES = 18  # 24 characters; RFC 8445 §5.3 wants 128 bits


class Listener(Protocol):
    """The leg above a transport."""

    def rtp(self, data: bytes, *, now: float) -> None:
        """SRTP or SRTCP came from an address of the client."""

    def heard(self, *, now: float) -> None:
        """A check of the client was verified."""

    def moved(self, how: How) -> None:
        """The client is reached elsewhere from now on."""

    def gone_wrong(self, stage: str, reason: EndReason) -> None:
        """The leg cannot go on. An exception that is being handled is logged."""


class Transport:
    """One leg's. It is a `mux.Peer`, and the `DatagramPath` of the leg's DTLS."""

    role = "controlled"  # only the client nominates (core/path.py)

    def __init__(self, mux: UdpMux, listener: Listener, *, remote: RemoteTransport) -> None:
        self._mux = mux
        self._listener = listener
        self._path = Path(lambda: secrets.token_bytes(_TRANSACTION_ID_BYTES))
        self._timer: asyncio.TimerHandle | None = None
        self._strangers, self._own_checks = Police(police.CHECKS), Police(police.CHECKS)
        self._handshake_police, self._records_police = Police(police.HANDSHAKE), Police(police.DTLS)
        self._late_police = Police(police.LATE_HANDSHAKE)
        self._cpu = Police(police.CPU)
        self._records: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._take_records: Callable[[bytes, int], bool] | None = None
        self._closed = False
        self._refuses = False  # the client has flooded
        self._finished = False  # the client has ended DTLS
        self.heard_at = clock.monotonic()  # on the selected path
        self.reached = asyncio.Event()
        self.local = self.new_credentials(remote)

    @property
    def address(self) -> Address | None:
        """Where the client is reached now."""
        return self._path.selected.remote if self._path.selected is not None else None

    def new_credentials(self, remote: RemoteTransport) -> Credentials:
        """Expect checks of another ICE generation, too; the first that comes ends those before it."""
        # The port tells the processes of a pod apart, so a relay could route by the ufrag alone.
        ufrag = self._mux.routes.add(self, lambda: f"{self._mux.port:04x}{secrets.token_hex(4)}")
        self.local = Credentials(ufrag, secrets.token_hex(_PASSWORD_BYTES), remote.ufrag, remote.password)
        for dead in self._path.restart(self.local):
            self._mux.routes.retire(dead.ufrag)
        return self.local

    def send(self, data: bytes) -> None:
        """Send to the client, if an address of its has answered and goes on answering."""
        if self._path.selected is not None:
            self._mux.send(data, self._path.selected)
        else:
            metrics.DATAGRAMS_UNSENT.labels("no_consent").inc()

    def give_records(self, take: Callable[[bytes, int], bool]) -> None:
        """Hand datagrams of DTLS to ``take``, and how many records each has; it says whether more may follow."""
        self._take_records = take

    def refuse(self) -> None:
        """Read nothing more of the client: it is being hung up for a flood."""
        self._refuses = True

    def spent(self, began_cpu_s: float, *, now: float) -> None:
        """What the client sent was handled since ``began_cpu_s``; more than a call may take is a flood."""
        if self._cpu.check(now=now, cost=clock.cpu_s() - began_cpu_s) is not Verdict.TAKE:
            self._listener.gone_wrong("cpu", EndReason.FLOOD)

    def close(self) -> None:
        """Leave the port: nothing comes any more, and who waits for DTLS is told."""
        self._closed = True
        self._mux.routes.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._arrived.set()

    # --- mux.Peer ---

    def credentials(self, ufrag: str) -> Credentials | None:
        """What a check for ``ufrag`` must be signed with."""
        return self._path.credentials(ufrag)

    def may_check(self, source: Address, *, now: float) -> Verdict:
        """The client's own addresses have a bucket of their own, so that strangers cannot empty it."""
        known = self._mux.routes.by_address.get(source) is self
        return (self._own_checks if known else self._strangers).check(now=now)

    def checked(self, used: Credentials, check: Check, pair: Pair, *, now: float) -> None:
        """Ask the client back where it nominates, or where it is when the path was silent."""
        self._carry_out(
            self._path.checked(used, pair, nominates=check.nominates, silent_s=now - self.heard_at, now=now), now
        )
        if pair == self._path.selected:
            self._heard(now)

    def answered(self, data: bytes, transaction_id: bytes, pair: Pair, *, now: float) -> None:
        """Follow the client to where it has answered."""
        if (credentials := self._path.asked(pair, transaction_id)) is None:
            drop("stun_unexpected")
        elif not stun.is_signed(data, credentials):
            drop("stun_unverified")
        else:
            self._mux.routes.learn(pair.remote, self, proven=True)
            self._carry_out(self._path.answered(pair, now=now), now)
            self._heard(now)

    def dtls(self, data: bytes, *, now: float) -> None:
        """Hand records on; while the handshake lasts they are queued for aiortc."""
        types = dtls.content_types(data)
        if self._refuses or types is None:
            drop("after_flood" if self._refuses else "dtls_malformed")
            return
        take = self._take_records
        verdict = (self._handshake_police if take is None else self._records_police).check(now=now)
        if verdict is not Verdict.TAKE:
            drop("dtls_too_many")
            if verdict is Verdict.FLOOD:
                self._listener.gone_wrong("dtls_flood", EndReason.FLOOD)
        elif take is None or self._records:
            self._queue(data)
        elif types != _DATA and self._is_late(types, now):
            drop("dtls_handshake_too_many")
        else:
            began = clock.cpu_s()
            self._give(data, len(types), take)
            self.spent(began, now=now)

    def rtp(self, data: bytes, *, now: float) -> None:
        """Sound and reports go straight to the leg."""
        if self._refuses:
            drop("after_flood")
        else:
            self._listener.rtp(data, now=now)

    def broke(self) -> None:
        """A datagram was handled with an error."""
        self._listener.gone_wrong("receive", EndReason.INTERNAL)

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
        self.send(data)

    def _carry_out(self, step: Step, now: float) -> None:
        for credentials in step.dead:
            self._mux.routes.retire(credentials.ufrag)
        for request in step.requests:
            self._mux.ask(request, self, now=now)
        for result in step.results:
            metrics.PATH_CHECKS.labels(result).inc()
        if step.news is not None and self._path.selected is not None:
            self._mux.routes.keep(self._path.selected.remote, self)
            self.reached.set()
            if step.news != "first":
                self._listener.moved(step.news)
        self._set_timer()

    def _heard(self, now: float) -> None:
        self.heard_at = now
        self._listener.heard(now=now)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._path.due
        waits = due is not None and not self._closed
        self._timer = asyncio.get_running_loop().call_at(due, self._tick) if waits else None  # type: ignore[arg-type]

    def _tick(self) -> None:
        now = clock.monotonic()
        try:
            self._carry_out(self._path.tick(now=now), now)
        except Exception:  # noqa: BLE001 - the edge of a timer: the leg ends, with a reason
            self.broke()

    def _queue(self, data: bytes) -> None:
        if len(self._records) >= MAX_QUEUED_RECORDS:
            drop("dtls_backlog")
            return
        self._records.append(data)
        self._arrived.set()

    def _is_late(self, types: list[int], now: float) -> bool:
        """The handshake is over; what of it still comes, a lost last flight explains, up to some number."""
        late = len(types) - types.count(dtls.APPLICATION_DATA)
        return late > 0 and self._late_police.check(now=now, cost=late) is not Verdict.TAKE

    def _give(self, data: bytes, records: int, take: Callable[[bytes, int], bool]) -> None:
        try:
            goes_on = take(data, records)
        except ConnectionError:
            goes_on = False
        if not goes_on:
            self._finished = True
            self._arrived.set()  # aiortc waits there and is told
