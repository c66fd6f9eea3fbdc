"""Classifies datagrams on the media port by their bytes (RFC 7983), before any cryptography."""

from enum import Enum
from typing import Literal

STUN_HEADER_BYTES = 20
MAX_DATAGRAM_BYTES = 1472
"""An Ethernet frame's worth of UDP over IPv4. Browsers stay below 1200 and our SRTP has room for no more."""
_COOKIE = b"\x21\x12\xa4\x42"
_BINDING_REQUEST, _BINDING_RESPONSE = b"\x00\x01", b"\x01\x01"
_USERNAME = 0x0006

DatagramDropped = Literal[
    "empty",
    "too_long",
    "unknown_protocol",
    "unknown_source",
    "stun_malformed",
    "stun_unexpected",
    "stun_unknown_ufrag",
    "stun_unverified",
    "stun_too_many",
    "stun_too_short",
    "dtls_malformed",
    "dtls_backlog",
    "dtls_too_many",
    "dtls_handshake_too_many",
    "rtp_too_many",
    "rtp_too_early",
    "rtp_not_negotiated",
    "rtcp_too_many",
    "srtp_unverified",
    "srtcp_unverified",
    "after_flood",
]
"""Why a datagram was dropped."""


class Protocol(Enum):
    """The protocol of a datagram."""

    STUN = "stun"
    DTLS = "dtls"
    RTP = "rtp"  # and RTCP, on the same port (RFC 5761)


def protocol(data: bytes) -> Protocol | DatagramDropped:
    """Classify by the first byte; the reason for a drop if it is none of the protocols."""
    if not data:
        return "empty"
    if len(data) > MAX_DATAGRAM_BYTES:
        return "too_long"
    first = data[0]
    if 127 < first < 192:  # noqa: PLR2004 - RFC 7983 §7
        return Protocol.RTP
    if 19 < first < 64:  # noqa: PLR2004 - RFC 7983 §7
        return Protocol.DTLS
    if first < 4:  # noqa: PLR2004 - RFC 7983 §7
        return Protocol.STUN
    return "unknown_protocol"


def asked_ufrag(data: bytes) -> str | DatagramDropped:
    """Return our ufrag that a STUN binding request names, without parsing the rest, or why to drop it.

    A flood of requests for calls that do not exist costs no more than this.
    """
    if len(data) < STUN_HEADER_BYTES or data[4:8] != _COOKIE:
        return "stun_malformed"
    if data[:2] != _BINDING_REQUEST:
        return "stun_unexpected"
    at, end = STUN_HEADER_BYTES, len(data)
    while at + 4 <= end:
        kind, length = int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4])
        if kind == _USERNAME:
            ours, colon, _ = data[at + 4 : at + 4 + length].partition(b":")
            return ours.decode("ascii") if colon and ours.isascii() else "stun_malformed"
        at += 4 + length + -length % 4
    return "stun_malformed"


def answered_transaction(data: bytes) -> bytes | None:
    """Return the transaction id of a STUN binding response; None for any other message."""
    is_response = len(data) >= STUN_HEADER_BYTES and data[:2] == _BINDING_RESPONSE and data[4:8] == _COOKIE
    return data[8:STUN_HEADER_BYTES] if is_response else None
