"""Parses and builds RTP packets (RFC 3550 §5.1). Parsed packets have been authenticated by SRTP."""

import struct
from dataclasses import dataclass
from typing import Final

CLOCK_HZ = 48_000
"""Opus over RTP always counts at 48 kHz (RFC 7587 §4.1)."""
SEQUENCE_MASK = 0xFFFF
TIMESTAMP_MASK = 0xFFFFFFFF

_HEADER = struct.Struct("!BBHII")
_HEADER_BYTES = _HEADER.size
_unpack_header = _HEADER.unpack_from
_unpack_extension = struct.Struct("!HH").unpack_from
_VERSION, _PADDING, _EXTENSION, _CSRC_COUNT = 0xC0, 0x20, 0x10, 0x0F
_VERSION_2 = 0x80
_MARKER = 0x80


@dataclass(slots=True, init=False)
class RtpPacket:
    """The fields of a packet that a receiver needs."""

    payload_type: Final[int]
    sequence: Final[int]
    timestamp: Final[int]
    ssrc: Final[int]
    payload: Final[bytes]

    def __init__(  # written out: made for every packet (ADR 9)
        self, payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes
    ) -> None:
        self.payload_type = payload_type
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.payload = payload


def parse(data: bytes) -> RtpPacket | None:
    """Parse ``data``; None: malformed. Header extensions of both forms (RFC 8285) are skipped."""
    end = len(data)
    if end < _HEADER_BYTES:
        return None
    first, second, sequence, timestamp, ssrc = _unpack_header(data)
    if first & _VERSION != _VERSION_2:
        return None
    start = _HEADER_BYTES + 4 * (first & _CSRC_COUNT)
    if first & _EXTENSION:
        if end < start + 4:
            return None
        start += 4 + 4 * _unpack_extension(data, start)[1]
    if first & _PADDING:
        padding = data[-1]
        if padding == 0:
            return None
        end -= padding
    if start > end:
        return None
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[start:end])


def header(payload_type: int, sequence: int, timestamp: int, ssrc: int, *, marker: bool = False) -> bytes:
    """Return the 12-byte header of a packet. ``marker``: a talk spurt begins."""
    return _HEADER.pack(_VERSION_2, payload_type | _MARKER if marker else payload_type, sequence, timestamp, ssrc)


def is_rtcp(datagram: bytes) -> bool:
    """Whether an RTP or RTCP datagram is RTCP (RFC 5761 §4)."""
    return len(datagram) > 1 and 192 <= datagram[1] <= 223  # noqa: PLR2004 - the RFC's range


def signed(difference: int) -> int:
    """Return a timestamp difference as signed, modulo 2**32."""
    return ((difference + 0x80000000) & TIMESTAMP_MASK) - 0x80000000
