"""RTCP compound packets by their headers (RFC 3550 §6.1): extracts the reports without parsing the rest."""

import struct
from typing import Final

MAX_PACKETS = 16
"""Packets in one compound. A report, a source description and some feedback are three or four."""
_SENDER_REPORT, _RECEIVER_REPORT = 200, 201
_WANTED: Final = frozenset((_SENDER_REPORT, _RECEIVER_REPORT))
_HEADER_BYTES = 4
_VERSION, _VERSION_2 = 0xC0, 0x80
_header = struct.Struct("!BBH").unpack_from


def reports(compound: bytes) -> bytes:
    """Return ``compound`` reduced to its sender and receiver reports.

    BYE is ignored: a client counts as gone when it answers no checks. Feedback such as NACK was not negotiated, and
    one of 1,400 bytes names 6,000 packets.

    Raises:
        ValueError: malformed, or too many packets.
    """
    wanted: list[bytes] = []
    at, end, number = 0, len(compound), 0
    while at < end:
        if at + _HEADER_BYTES > end or number == MAX_PACKETS:
            raise ValueError("no compound of a few packets")
        first, kind, words = _header(compound, at)
        behind = at + _HEADER_BYTES + 4 * words
        if first & _VERSION != _VERSION_2 or behind > end:
            raise ValueError("no RTCP packet of version 2 that ends where the compound does")
        if kind in _WANTED:
            wanted.append(compound[at:behind])
        at, number = behind, number + 1
    return b"".join(wanted)
