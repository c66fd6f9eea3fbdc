"""Reads and replaces the address in an SDP answer."""

import re
from ipaddress import ip_address

_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*\r?\n", re.MULTILINE | re.IGNORECASE)
_ANY_CANDIDATE = re.compile(r"^a=(?:candidate:.*|end-of-candidates)\r?\n", re.MULTILINE)
_BEFORE = re.compile(r"^a=ice-ufrag:", re.MULTILINE)
_PRIORITY = 2_130_706_431  # RFC 8445, section 5.1.2.1: host, highest local preference, component 1


class NoCandidateError(ValueError):
    """The answer contains no address to replace."""


def gateway_address(sdp: str) -> tuple[str, int]:
    """Host and port of the first UDP host candidate.

    Raises:
        NoCandidateError: there is none.
    """
    for found in _CANDIDATE.finditer(sdp):
        return str(ip_address(found[1])), int(found[2])
    raise NoCandidateError("no UDP host candidate in the answer")


def with_one_candidate(sdp: str, host: str, port: int) -> str:
    """Return the answer with this address as its only candidate, in every section that has ICE credentials."""
    line = f"a=candidate:1 1 udp {_PRIORITY} {host} {port} typ host\r\na=end-of-candidates\r\n"
    return _BEFORE.sub(lambda before: line + before[0], _ANY_CANDIDATE.sub("", sdp))
