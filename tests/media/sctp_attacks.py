"""SCTP attacks by the client of a call: each is an endless or short sequence of packets."""

from collections.abc import Callable, Iterator
from itertools import count

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSctpTransport

from tests.media.sctp_wire import FIRST, chunk, data, forward, init, packet, parameter, reset, sack


class RawAssociation:
    """A client's SCTP association, for sending handmade packets."""

    def __init__(self, peer: RTCPeerConnection, channel: RTCDataChannel) -> None:
        assert peer.sctp is not None
        self.sctp: RTCSctpTransport = peer.sctp
        self.stream = channel.id or 0

    @property
    def tsn(self) -> int:
        """The client's next TSN."""
        return self.sctp._local_tsn  # noqa: SLF001 - an attacker has no manners

    @property
    def heard(self) -> int:
        """The last of our TSNs that the client received."""
        return self.sctp._last_received_tsn or 0  # noqa: SLF001

    def packet(self, *chunks: bytes, tag: int | None = None) -> bytes:
        """Return a packet of the association."""
        return packet(*chunks, tag=self.sctp._remote_verification_tag if tag is None else tag)  # noqa: SLF001

    async def send(self, data: bytes) -> None:
        """Send a packet as DTLS data."""
        await self.sctp.transport._send_data(data)  # noqa: SLF001


SctpAttack = Callable[[RawAssociation], Iterator[bytes]]


def again(packets: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the packets of an attack, then repeat the last."""
    last = b""
    for last in packets:
        yield last
    while True:
        yield last


def every_gap(wire: RawAssociation) -> Iterator[bytes]:
    yield wire.packet(sack(wire.heard, [(1, 65535)] * 270))


def acknowledges_the_future(wire: RawAssociation) -> Iterator[bytes]:
    yield wire.packet(sack(wire.heard + 1000))


def unfinished_fragments(wire: RawAssociation) -> Iterator[bytes]:
    for first in count(wire.tsn, 60):
        yield wire.packet(
            *(data(first + n, flags=FIRST if first + n == wire.tsn else 0, stream=wire.stream) for n in range(60))
        )


def fragments_with_holes(wire: RawAssociation) -> Iterator[bytes]:
    for first in count(wire.tsn + 1, 60):
        yield wire.packet(*(data(first + 2 * n, flags=0, stream=wire.stream) for n in range(60)))


def one_byte_messages(wire: RawAssociation) -> Iterator[bytes]:
    for first in count(wire.tsn, 54):
        yield wire.packet(*(data(first + n, stream=wire.stream, sequence=first + n) for n in range(54)))


def streams(wire: RawAssociation) -> Iterator[bytes]:
    for first in count(0, 50):
        yield wire.packet(*(data(wire.tsn + first + n, stream=1000 + first + n) for n in range(50)))


def skipped_streams(wire: RawAssociation) -> Iterator[bytes]:
    for first in count(0, 300):
        yield wire.packet(forward(wire.tsn + first, range(first % 60_000, first % 60_000 + 300)))


def refilled_windows(wire: RawAssociation) -> Iterator[bytes]:
    for tsn in count(wire.tsn, 240):
        for start in range(2, 240, 60):
            yield wire.packet(*(data(tsn + start + n, flags=0, stream=wire.stream) for n in range(0, 60, 2)))
        yield wire.packet(forward(tsn + 239))


def heartbeats(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet(*[chunk(4)] * 300)


def few_heartbeats(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet(*[chunk(4)] * 8)


def resets(wire: RawAssociation) -> Iterator[bytes]:
    for sequence in count():
        yield wire.packet(chunk(130, reset(sequence, range(100, 400))))


def many_resets(wire: RawAssociation) -> Iterator[bytes]:
    for sequence in count():
        yield wire.packet(chunk(130, b"".join(reset(sequence + n) for n in range(80))))


def inits(wire: RawAssociation) -> Iterator[bytes]:
    for tsn in count(0, 1000):
        yield wire.packet(init(tsn), tag=0)


def cookies(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet(*[chunk(10, bytes(24))] * 8)


def shutdowns(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet(*[chunk(7, bytes(4))] * 2)


def endless_parameters(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet(chunk(4, parameter(1, length=0)))


def sacks(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet(*[sack(wire.heard)] * 80)


def nonsense(wire: RawAssociation) -> Iterator[bytes]:
    while True:
        yield wire.packet()
