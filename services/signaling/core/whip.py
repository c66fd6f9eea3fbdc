"""WHIP (RFC 9725): SDP fragments and entity tags of trickle ICE and ICE restarts.

The gateway ignores candidates of clients: it sends to the addresses from which valid connectivity checks arrive. So
trickled candidates are accepted and discarded, as the RFC says of unsupported ones.
"""

import re
from dataclasses import dataclass

from services.signaling.core import sdp
from services.signaling.core.sdp import ClientOffer
from services.signaling.core.sdp_lines import (
    InvalidOfferError,
    MalformedOfferError,
    Scope,
    check_line,
    read_attribute,
    text_lines,
)

_ICE = ("a=ice-ufrag:", "a=ice-pwd:")
_UNKNOWN_PASSWORD = "0" * 22
_ANY_SECTION = "m=audio 9 RTP/AVP 0"  # RFC 8840 §9: transport and formats of this line have no meaning
_ENTITY_TAG = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*')


@dataclass(frozen=True, slots=True)
class Fragment:
    """ICE credentials of a client's SDP fragment; both None: it has only candidates."""

    ufrag: str | None
    password: str | None


def read_offer(offer: bytes) -> ClientOffer:
    """Parse a WHIP offer: audio, and optionally a data channel.

    Raises:
        InvalidOfferError: the offer is malformed or asks for something that is not supported.
    """
    parsed = sdp.parse(offer)
    if parsed.audio.direction == "recvonly":
        raise InvalidOfferError("the audio section is recvonly; WHIP brings audio in: sendonly or sendrecv")
    return parsed


def read_fragment(body: bytes) -> Fragment:
    """Parse `application/trickle-ice-sdpfrag`.

    Raises:
        InvalidOfferError: it is malformed.
    """
    scope = Scope()
    for number, line in enumerate(text_lines(body), start=1):
        check_line(number, line)
        if line.startswith(_ICE):
            read_attribute(scope, line[2:])
    ufrag, password = (scope.values.get(name) for name in ("ice-ufrag", "ice-pwd"))
    if (ufrag is None) != (password is None):
        raise MalformedOfferError("a=ice-ufrag and a=ice-pwd belong together")
    return Fragment(ufrag, password)


def write_fragment(answer: str) -> str:
    """Return the SDP fragment of an answer: ICE credentials and all candidates of the gateway.

    Raises:
        InvalidOfferError: the answer has no ICE credentials.
    """
    scope = Scope()
    lines = answer.split("\r\n")
    for line in lines:
        if line.startswith(("a=ice-ufrag:", "a=ice-pwd:", "a=mid:")) and line[2:].partition(":")[0] not in scope.values:
            read_attribute(scope, line[2:])
    if not {"ice-ufrag", "ice-pwd", "mid"} <= scope.values.keys():
        raise InvalidOfferError("the answer has no a=ice-ufrag, a=ice-pwd or a=mid")
    written = [f"a={name}:{scope.values[name]}" for name in ("ice-ufrag", "ice-pwd")]
    # Bundled sections repeat the candidates of the first.
    candidates = dict.fromkeys(line for line in lines if line.startswith("a=candidate:"))
    written += [_ANY_SECTION, f"a=mid:{scope.values['mid']}", *candidates, "a=end-of-candidates"]
    return "\r\n".join(written) + "\r\n"


def without_password(offer: ClientOffer) -> str:
    """Return the SDP of the offer with a placeholder for the ICE password, to be stored."""
    return offer.with_ice(offer.transport.ufrag, _UNKNOWN_PASSWORD).serialise()


def matches(if_match: str, etag: str) -> bool:
    """Return whether `If-Match` (RFC 9110 §13.1.1) matches ``etag`` (quoted). Weak tags match nothing."""
    asked = if_match.strip()
    if asked in {"*", '"*"'}:  # the quoted form is in the RFC's examples, and clients send it
        return True
    tags = [tag.group().strip() for tag in _ENTITY_TAG.finditer(asked)]
    return etag in tags
