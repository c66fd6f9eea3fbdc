"""`make bench-handshakes`: CPU time of our side of a DTLS handshake. Writes docs/bench/handshakes.json.

The media process's `Dtls`, which is aiortc's with parts of our own, and the same without aiortc (`direct_dtls.py`) take
turns in one process, in both roles, with peers that have an ECDSA and an RSA key. What the peer spends does not count.
"""

import asyncio
import json
import statistics
import sys
from collections import deque
from collections.abc import Coroutine, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from aiortc.rtcdtlstransport import SRTP_PROFILES
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from rich.console import Console
from rich.table import Table

from services.media.core.network.handshake import DtlsFailure, Handshake
from services.media.legs.webrtc import tls
from services.media.legs.webrtc.private import Certificate, DatagramPath, Dtls
from services.runtime import clock
from tests.bench.direct_dtls import DirectDtls
from tests.bench.machine import cpu_model
from tests.media.peer_certificates import Key, PeerCertificate, Ways

RESULTS = Path("docs/bench/handshakes.json")
WARM_UPS = 20
HANDSHAKES = 300
SRTP = ":".join(profile.openssl_profile.decode() for profile in SRTP_PROFILES).encode()
T = TypeVar("T")


class Side(Protocol):
    """Our end of a handshake."""

    async def run_handshake(self, fingerprint: str) -> DtlsFailure | None: ...

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """Median CPU time of our side, in µs. ``ratio``: the direct one's to the media process's."""

    role: str
    peer_key: str
    through_aiortc_us: float
    direct_us: float
    ratio: float


class Timed(Generic[T]):
    """Awaits a coroutine and sums the CPU time of its own steps."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.cpu_s = 0.0

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._coroutine.__await__()
        while True:
            began = clock.cpu_s()
            try:
                waits_for = next(steps)
            except StopIteration as done:
                result: T = done.value
                return result
            finally:
                self.cpu_s += clock.cpu_s() - began
            yield waits_for


class MemoryPath:
    """A `DatagramPath` to another one in the same process."""

    role = "controlled"

    def __init__(self) -> None:
        self.other = self
        self._records: deque[bytes] = deque()
        self._arrived = asyncio.Event()

    async def _recv(self) -> bytes:
        while not self._records:
            self._arrived.clear()
            await self._arrived.wait()
        return self._records.popleft()

    async def _send(self, data: bytes) -> None:
        self.other.arrive(data)

    def arrive(self, data: bytes) -> None:
        self._records.append(data)
        self._arrived.set()


async def peer_side(path: MemoryPath, peer: PeerCertificate, *, active: bool, fingerprint: str) -> None:
    connection = SSL.Connection(peer._create_ssl_context(SRTP_PROFILES))  # noqa: SLF001 - a peer of the tests
    connection.set_connect_state() if active else connection.set_accept_state()

    async def flush() -> None:
        try:
            await path._send(connection.bio_read(65_536))  # noqa: SLF001 - as aiortc's transports do
        except SSL.WantReadError:
            return

    failure = await tls.run_handshake(connection, Handshake(fingerprint), receive=path._recv, flush=flush)  # noqa: SLF001
    if failure is not None:
        raise RuntimeError(failure)


class HandshakeBench:
    """One role against one peer, both implementations in turn."""

    def __init__(self, key: Key, *, active: bool) -> None:
        self._active = active
        self._ours = Certificate.generateCertificate()
        self._context = self._ours._create_ssl_context(SRTP_PROFILES)  # noqa: SLF001 - both ways share it
        self._peer = PeerCertificate(Ways(key, srtp=SRTP))
        self._peers = next(print_.value for print_ in self._peer.getFingerprints() if print_.algorithm == "sha-256")

    def through_aiortc(self, path: DatagramPath) -> Side:
        return Dtls(path, self._ours, active=self._active)

    def direct(self, path: DatagramPath) -> Side:
        return DirectDtls(path, self._context, active=self._active)

    async def cpu_us(self, *, direct: bool) -> float:
        here, there = MemoryPath(), MemoryPath()
        here.other, there.other = there, here
        peer = asyncio.create_task(peer_side(there, self._peer, active=not self._active, fingerprint=self._ours.sha256))
        began = clock.cpu_s()
        side = (self.direct if direct else self.through_aiortc)(here)
        made_s = clock.cpu_s() - began
        timed = Timed(side.run_handshake(self._peers))
        if (failure := await timed) is not None:
            raise RuntimeError(failure)
        await peer
        await side.stop()
        return (made_s + timed.cpu_s) * 1e6

    async def measure(self) -> tuple[float, float]:
        for _ in range(WARM_UPS):
            await self.cpu_us(direct=False)
            await self.cpu_us(direct=True)
        both = [(await self.cpu_us(direct=False), await self.cpu_us(direct=True)) for _ in range(HANDSHAKES)]
        return statistics.median(one for one, _ in both), statistics.median(one for _, one in both)


async def figures() -> list[Figure]:
    keys: dict[str, Key] = {
        "ecdsa p-256": ec.generate_private_key(ec.SECP256R1()),
        "rsa 2048": rsa.generate_private_key(65537, 2048),
    }
    found = []
    for name, key in keys.items():
        for role in ("client", "server"):
            today, direct = await HandshakeBench(key, active=role == "client").measure()
            found.append(Figure(role, name, round(today, 1), round(direct, 1), round(direct / today, 3)))
    return found


def main() -> int:
    found = asyncio.run(figures())
    table = Table("role", "peer's key", "through aiortc µs", "direct µs", "ratio")
    for one in found:
        table.add_row(one.role, one.peer_key, str(one.through_aiortc_us), str(one.direct_us), str(one.ratio))
    Console().print(table)
    measured = {"measured_at": clock.utc_now().isoformat(timespec="seconds"), "cpu": cpu_model()}
    figures_ = [asdict(one) for one in found]
    RESULTS.write_text(json.dumps({**measured, "handshakes": HANDSHAKES, "figures": figures_}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
