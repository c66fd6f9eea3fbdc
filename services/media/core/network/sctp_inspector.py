"""Inspects a client's SCTP packets before aiortc reads them, and bounds the CPU time of each.

aiortc expands gap blocks TSN by TSN, sorts all misordered TSNs for each chunk, scans all fragments for each fragment,
answers each HEARTBEAT of a packet, and loops forever on a parameter of length 0. A conforming peer needs few of these;
the limits here admit that many, at a cost that is estimated beforehand.

A packet refused for its cost is lost like any other: the peer retransmits it later. Only packets that no SCTP stack
sends, and persistent excess, end the call.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from services.contracts.client_event import MAX_EVENT_BYTES
from services.media.core.network import rate_limiter
from services.media.core.network.rate_limiter import RateLimiter, Verdict
from services.media.core.network.sctp_chunks import (
    CHUNK_HEADER_BYTES,
    COOKIE_ECHO,
    DATA,
    FORWARD_BYTES,
    FORWARD_TSN,
    HEARTBEAT,
    INIT,
    RECONFIG,
    SACK,
    SACK_BYTES,
    SHUTDOWN,
    Chunk,
    sack_header,
    split,
    two_shorts,
)

MAX_HELD_BYTES = 256 * 1024
"""The receive window that we advertise, for what is out of order and what the call has not forwarded."""
MAX_HELD_CHUNKS = 512
"""Fragments and messages waiting for reassembly: twice the full packets of 256 KiB."""
MAX_AHEAD = 512
"""TSNs beyond the first that is missing: twice the window in full packets. Half as many gap blocks fit into a SACK."""
MAX_STREAMS = 16
"""Streams that the peer sends on: a client needs one; 8 further channels are refused anyway."""
MAX_GAP_TSNS = 2048
"""TSNs that a SACK may acknowledge in gap blocks: more than the congestion window has in the shortest events."""
BULK_BYTES = 512
"""A packet of one chunk that is longer and in order costs nothing: its time is a normal one for its bytes."""
MAX_PACKET_COST = 1200.0
"""In µs, as all costs here: the most that one packet may take, which bounds the delay of other calls' frames."""

SctpDropped = Literal[
    "sctp_malformed",  # inconsistent lengths
    "sctp_unexpected",  # no SCTP stack sends this: too many chunks of a kind, an INIT that is not alone
    "sctp_early",  # data before the association
    "sctp_window",  # beyond the receive window
    "sctp_too_many",  # messages, control chunks, or work for us
    "sctp_unsent",  # acknowledges what was never sent
    "sctp_held",  # data out of order in thousands of fragments, or a message longer than any may be
    "sctp_streams",
]
"""Why an SCTP packet, or the rest of one, was dropped."""

_ANSWERED: Final = frozenset((INIT, HEARTBEAT, SHUTDOWN, COOKIE_ECHO, RECONFIG))
_LAST_FRAGMENT = 0x01
_TSN_MASK = 0xFFFFFFFF
_HALF = 0x80000000

# CPU time of aiortc 1.16, in µs: measured for one chunk with 0, 200 and 400 waiting ones (docs/performance.md).
_PACKET = 60.0  # with DTLS, and the SACK that answers
_CHUNK = 6.0
_MESSAGE = 20.0  # handling by the call, which accepts 50 a second
_ANSWER = 50.0
_SACKED = 20.0
_BY_GAP = 0.5  # for each TSN that is out of order: a gap block in the SACK that answers
_BY_AHEAD = 0.6  # for each TSN that is out of order, when a FORWARD-TSN sorts and filters them
_BY_HELD = 0.25  # for each chunk that is held: passed over by insertion and by reassembly
_BY_SACKED = 0.2  # for each TSN in gap blocks
_BY_OUTSTANDING = 0.5  # for each chunk of ours that is out, if there are gap blocks
_REFUSED = 10.0

_data_header = struct.Struct("!LH").unpack_from


@dataclass(slots=True)
class Association:
    """The state of aiortc's association when a packet comes.

    ``cumulative_tsn``: all TSNs up to this one were received, None before the association; ``misordered``: received
    TSNs beyond it; ``held_chunks``, ``held_bytes``: data out of order; ``partial_bytes``: of the message that is being
    received in order; ``is_full``: nothing more is taken, as the peer was told; ``streams``: those the peer has sent
    on; ``next_tsn``: our first unsent TSN; ``outstanding``: our TSNs that are not acknowledged.
    """

    cumulative_tsn: int | None
    misordered: Collection[int]
    held_chunks: int
    held_bytes: int
    streams: Collection[int]
    next_tsn: int
    outstanding: int
    partial_bytes: int = 0
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class PacketAdmitted:
    """Pass the first ``chunks`` of those that aiortc reads to it. ``rest``: why the others are dropped."""

    chunks: int
    rest: SctpDropped | None = None


@dataclass(frozen=True, slots=True)
class PacketRefused:
    """Drop the packet. ``flood``: end the call."""

    reason: SctpDropped
    flood: bool = False


class _Stop(Exception):  # noqa: N818 - not an error: the way out of nested steps
    """This chunk and those after it are not admitted."""

    def __init__(self, reason: SctpDropped, *, flood: bool = False) -> None:
        super().__init__(reason)
        self.reason: SctpDropped = reason
        self.flood = flood


class SctpInspector:
    """The inspection of one call's SCTP packets."""

    def __init__(self) -> None:
        self._work = RateLimiter(rate_limiter.SCTP_WORK)
        self._messages = RateLimiter(rate_limiter.SCTP_MESSAGES)
        self._answers = RateLimiter(rate_limiter.SCTP_ANSWERS)
        self._refusals = RateLimiter(rate_limiter.SCTP_REFUSALS)
        self._violations = RateLimiter(rate_limiter.SCTP_VIOLATIONS)
        self._ahead = 0  # of the current packet: TSNs beyond the cumulative that are in order
        self._held = 0  # chunks that it adds to those held, and out of order
        self._misordered = 0
        self._new_streams: set[int] = set()

    def inspect(self, packet: bytes, association: Association, *, now: float) -> PacketAdmitted | PacketRefused:
        """Decide how much of the peer's next packet aiortc gets."""
        chunks = split(packet)
        if isinstance(chunks, str):
            return PacketRefused(chunks, flood=not _has_room(self._violations, now))
        admitted, cost, stop = self._admit(packet, chunks, association, now)
        if stop is not None and stop.flood:
            return PacketRefused(stop.reason, flood=True)
        rest = None if stop is None else stop.reason
        if self._work.check(now=now, cost=cost) is not Verdict.ACCEPT:
            admitted, rest = 0, "sctp_too_many"
        if rest is None:
            return PacketAdmitted(admitted)
        if self._refusals.check(now=now) is Verdict.FLOOD:
            return PacketRefused(rest, flood=True)
        return PacketAdmitted(admitted, rest) if admitted else PacketRefused(rest)

    def _admit(
        self, packet: bytes, chunks: list[Chunk], association: Association, now: float
    ) -> "tuple[int, float, _Stop | None]":
        """Return how many chunks are admitted, their cost, and why the next one is not."""
        self._ahead, self._held, self._misordered = 0, 0, 0
        self._new_streams.clear()
        admitted, cost = 0, _PACKET + _BY_GAP * len(association.misordered)
        try:
            for chunk in chunks:
                more = self._cost(packet, chunk, association, now)
                if admitted and cost + more > MAX_PACKET_COST:
                    return admitted, cost, _Stop("sctp_too_many")
                admitted, cost = admitted + 1, cost + more
        except _Stop as stop:
            return admitted, cost if admitted else _REFUSED, stop
        is_bulk = self._ahead == len(chunks) == 1 and len(packet) > BULK_BYTES and not association.misordered
        return admitted, 0.0 if is_bulk else cost, None

    def _cost(self, packet: bytes, chunk: Chunk, association: Association, now: float) -> float:
        kind, flags, start, end = chunk
        if kind == DATA:
            return self._data(packet, flags, start, association, now)
        if kind == SACK:
            return self._sack(packet, start, association, now)
        if kind == FORWARD_TSN:
            return self._forward(packet, start, end, association)
        if kind in _ANSWERED:
            if not _has_room(self._answers, now):
                raise _Stop("sctp_too_many")
            return _ANSWER
        return _CHUNK

    def _data(self, packet: bytes, flags: int, start: int, association: Association, now: float) -> float:
        tsn, stream = _data_header(packet, start + CHUNK_HEADER_BYTES)
        if association.cumulative_tsn is None:
            raise _Stop("sctp_early")
        ahead = (tsn - association.cumulative_tsn) & _TSN_MASK
        if not 0 < ahead < _HALF or tsn in association.misordered:
            return _CHUNK  # a duplicate
        if association.is_full:
            raise _Stop("sctp_window")
        held = association.held_chunks + self._held
        if ahead == self._ahead + 1:  # admitted whatever is out of order, or no message would ever be complete
            self._ahead = ahead
            self._held += not flags & _LAST_FRAGMENT
            if (
                held >= 2 * MAX_HELD_CHUNKS
                or association.held_bytes >= 2 * MAX_HELD_BYTES
                or association.partial_bytes > MAX_EVENT_BYTES
            ):
                raise _Stop("sctp_held", flood=True)
        elif (
            ahead > MAX_AHEAD
            or len(association.misordered) + self._misordered >= MAX_AHEAD
            or held >= MAX_HELD_CHUNKS
            or association.held_bytes >= MAX_HELD_BYTES
        ):
            raise _Stop("sctp_window")
        else:
            self._held += 1
            self._misordered += 1
        self._open(stream, association)
        cost = _CHUNK + _BY_HELD * held
        if flags & _LAST_FRAGMENT:
            if not _has_room(self._messages, now):
                raise _Stop("sctp_too_many")
            cost += _MESSAGE
        return cost

    def _sack(self, packet: bytes, start: int, association: Association, now: float) -> float:
        cumulative, _, gaps, duplicates = sack_header(packet, start + CHUNK_HEADER_BYTES)
        sent = (association.next_tsn - 1 - cumulative) & _TSN_MASK
        if sent >= _HALF:
            raise _Stop("sctp_unsent", flood=True)
        at, total = start + SACK_BYTES, 0
        for _ in range(gaps):
            first, last = two_shorts(packet, at)
            if last > sent:
                raise _Stop("sctp_unsent", flood=True)
            total += max(0, last - first + 1)
            at += 4
        if total > min(sent, MAX_GAP_TSNS):  # overlapping: each TSN is reported once
            raise _Stop("sctp_unexpected", flood=not _has_room(self._violations, now))
        outstanding = association.outstanding if gaps else 0
        return _SACKED + _BY_SACKED * (total + int(duplicates)) + _BY_OUTSTANDING * outstanding

    def _forward(self, packet: bytes, start: int, end: int, association: Association) -> float:
        if association.cumulative_tsn is None:
            raise _Stop("sctp_early")
        for at in range(start + FORWARD_BYTES, end, 4):
            self._open(two_shorts(packet, at)[0], association)
        passes = 1 + (end - start - FORWARD_BYTES) // 4
        return _SACKED + _BY_AHEAD * len(association.misordered) + _BY_HELD * passes * association.held_chunks

    def _open(self, stream: int, association: Association) -> None:
        """Record that the peer sends on ``stream``; raises `_Stop` beyond the limit."""
        if stream in association.streams or stream in self._new_streams:
            return
        if len(association.streams) + len(self._new_streams) >= MAX_STREAMS:
            raise _Stop("sctp_streams", flood=True)
        self._new_streams.add(stream)


def _has_room(bucket: RateLimiter, now: float) -> bool:
    return bucket.check(now=now) is Verdict.ACCEPT
