"""DTLS records of a datagram by their headers (RFC 6347 §4.1), before OpenSSL reads it."""

import struct
from typing import Final

MAX_RECORDS = 16
"""Records in one datagram. A handshake flight has about six; data has one, or a few in some stacks."""
APPLICATION_DATA = 23
_FIRST: Final = 20  # ChangeCipherSpec
_HEADER_BYTES = 13
_LENGTH_AT = 11
_length = struct.Struct("!H").unpack_from


def content_types(datagram: bytes) -> list[int] | None:
    """Return the content type of each record, in order; None: incomplete records, or too many."""
    types: list[int] = []
    at, end = 0, len(datagram)
    while at < end:
        if at + _HEADER_BYTES > end or not _FIRST <= datagram[at] <= APPLICATION_DATA or len(types) == MAX_RECORDS:
            return None
        types.append(datagram[at])
        at += _HEADER_BYTES + int(_length(datagram, at + _LENGTH_AT)[0])
    return types if types and at == end else None
