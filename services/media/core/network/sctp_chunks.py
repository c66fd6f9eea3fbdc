"""Splits SCTP packets into chunks (RFC 9260 §3) and validates their lengths, which aiortc does only in part."""

import struct
from typing import Final, Literal

NoPacket = Literal["sctp_malformed", "sctp_unexpected"]
"""Inconsistent lengths; and what no stack sends: too many chunks of a kind, an INIT that is not alone."""
DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK = (
    range(12)
)
SHUTDOWN_COMPLETE, RECONFIG, FORWARD_TSN = 14, 130, 192
KNOWN: Final = frozenset((*range(12), SHUTDOWN_COMPLETE, RECONFIG, FORWARD_TSN))
"""What aiortc reads; it skips all other kinds."""
_WITH_PARAMETERS: Final = {INIT: 20, INIT_ACK: 20, HEARTBEAT: 4, HEARTBEAT_ACK: 4, ABORT: 4, ERROR: 4, RECONFIG: 4}
"""Where their parameters begin."""
_SHORTEST: Final = {DATA: 17, INIT: 20, INIT_ACK: 20, SACK: 16, SHUTDOWN: 8, FORWARD_TSN: 8}
"""DATA without data is an error, too (RFC 9260 §6.2)."""
_RECONFIG_BYTES: Final = {13: 16, 16: 12, 17: 12}
"""The shortest form of the parameters that aiortc unpacks (RFC 6525 §4)."""
_MAX_CHUNKS = 96  # 72 of one byte fit into an Ethernet frame
_MAX_EACH = 2  # SACK, FORWARD-TSN: RFC 9260 §6.2 sends one for each packet that came
_MAX_CONTROL = 8
_MAX_PARAMETERS = 32
_MAX_REQUESTS = 2  # RFC 6525 §3.1
_HEADER_BYTES, CHUNK_HEADER_BYTES, SACK_BYTES, FORWARD_BYTES = 12, 4, 16, 8

_chunk_header = struct.Struct("!BBH").unpack_from
two_shorts = struct.Struct("!HH").unpack_from
sack_header = struct.Struct("!LLHH").unpack_from

Chunk = tuple[int, int, int, int]
"""Kind, flags, where it begins and where it ends."""


def split(packet: bytes) -> list[Chunk] | NoPacket:
    """Return the chunks that aiortc reads, each of valid length, or why the packet is invalid."""
    length = len(packet)
    if length < _HEADER_BYTES + CHUNK_HEADER_BYTES:
        return "sctp_malformed"
    chunks: list[Chunk] = []
    at, number = _HEADER_BYTES, 0
    while at + CHUNK_HEADER_BYTES <= length:
        kind, flags, size = _chunk_header(packet, at)
        number += 1
        if size < CHUNK_HEADER_BYTES or at + size > length or not _is_whole(packet, kind, at, size):
            return "sctp_malformed"
        if kind in KNOWN:
            chunks.append((kind, flags, at, at + size))
        at += size + -size % 4
    if number > _MAX_CHUNKS or not _is_bundled_well([chunk[0] for chunk in chunks]):
        return "sctp_unexpected"
    return chunks


def _is_bundled_well(kinds: list[int]) -> bool:
    sacks, forwards = kinds.count(SACK), kinds.count(FORWARD_TSN)
    control = len(kinds) - kinds.count(DATA) - sacks - forwards
    alone = len(kinds) == 1 or INIT not in kinds  # RFC 9260 §4.3
    return alone and sacks <= _MAX_EACH and forwards <= _MAX_EACH and control <= _MAX_CONTROL


def _is_whole(packet: bytes, kind: int, start: int, size: int) -> bool:
    """Whether a chunk is long enough for its kind, and its parameters end where it does."""
    if size < _SHORTEST.get(kind, CHUNK_HEADER_BYTES):
        return False
    if kind == SACK:
        _, _, gaps, duplicates = sack_header(packet, start + CHUNK_HEADER_BYTES)
        return bool(size >= SACK_BYTES + 4 * (gaps + duplicates))
    if kind == FORWARD_TSN:
        return size % 4 == 0
    first = _WITH_PARAMETERS.get(kind)
    return first is None or _are_parameters(packet, start + first, start + size, reconfig=kind == RECONFIG)


def _are_parameters(packet: bytes, at: int, end: int, *, reconfig: bool) -> bool:
    number = 0
    while at + 4 <= end:
        kind, size = two_shorts(packet, at)
        number += 1
        if size < 4 or at + size > end:  # noqa: PLR2004 - its own header
            return False
        if reconfig and (size < _RECONFIG_BYTES.get(kind, 4) or size % 2):
            return False
        at += size + -size % 4
    return number <= (_MAX_REQUESTS if reconfig else _MAX_PARAMETERS)
