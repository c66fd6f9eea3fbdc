"""RTCP compound packets by their headers (RFC 3550 §6.1): the reports in them, before anybody expands the rest."""

import struct
from typing import Final

MAX_PACKETS = 16
"""Of one compound. A report, a description and some feedback are three or four."""
_SENDER_REPORT, _RECEIVER_REPORT, _BYE = 200, 201, 203
_WANTED: Final = frozenset((_SENDER_REPORT, _RECEIVER_REPORT, _BYE))
_HEADER_BYTES = 4
_VERSION, _VERSION_2 = 0xC0, 0x80
_header = struct.Struct("!BBH").unpack_from


def reports(compound: bytes) -> bytes:
    """The reports and goodbyes of ``compound`` alone.

    Feedback such as a NACK is nothing that we asked for, and one of 1,400 bytes names 6,000 packets.

    Raises:
        ValueError: malformed, or more packets than anybody sends.
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
