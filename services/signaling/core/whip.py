"""WHIP (RFC 9725): the fragments of SDP and the entity tags by which a client trickles or restarts ICE.

Candidates of clients are read by nobody here, as everywhere: the gateway answers where valid checks come from. So
trickling is accepted and has no effect, which the RFC allows (it says to discard what is not supported).
"""

import re
from dataclasses import dataclass

from services.signaling.core import sdp
from services.signaling.core.sdp import Offer
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
_ANY_SECTION = "m=audio 9 RTP/AVP 0"  # RFC 8840 §9: what the line says of transport and formats means nothing
_ENTITY_TAG = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*')


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a client's fragment says of its end of ICE; both None: only of candidates."""

    ufrag: str | None
    password: str | None


def read_offer(offer: bytes) -> Offer:
    """Read an offer of a client that brings audio, and perhaps has a data channel.

    Raises:
        InvalidOfferError: it is none that we answer.
    """
    parsed = sdp.parse(offer)
    if parsed.audio.direction == "recvonly":
        raise InvalidOfferError("the audio section is recvonly; WHIP brings audio in: sendonly or sendrecv")
    return parsed


def read_fragment(body: bytes) -> Fragment:
    """Read `application/trickle-ice-sdpfrag`.

    Raises:
        InvalidOfferError: it is none.
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
    """What an answer says of the gateway's end of ICE: its name, its password and all its candidates.

    Raises:
        InvalidOfferError: the answer does not say it.
    """
    scope = Scope()
    lines = answer.split("\r\n")
    for line in lines:
        if line.startswith(("a=ice-ufrag:", "a=ice-pwd:", "a=mid:")) and line[2:].partition(":")[0] not in scope.values:
            read_attribute(scope, line[2:])
    if not {"ice-ufrag", "ice-pwd", "mid"} <= scope.values.keys():
        raise InvalidOfferError("the answer has no a=ice-ufrag, a=ice-pwd or a=mid")
    written = [f"a={name}:{scope.values[name]}" for name in ("ice-ufrag", "ice-pwd")]
    # Sections that are bundled repeat the candidates of the first.
    candidates = dict.fromkeys(line for line in lines if line.startswith("a=candidate:"))
    written += [_ANY_SECTION, f"a=mid:{scope.values['mid']}", *candidates, "a=end-of-candidates"]
    return "\r\n".join(written) + "\r\n"


def kept(offer: Offer) -> str:
    """The offer as it may be stored: an ICE password is of no use after the call began, so it is not."""
    return offer.with_ice(offer.transport.ufrag, _UNKNOWN_PASSWORD).serialise()


def matches(if_match: str, etag: str) -> bool:
    """Whether a condition (RFC 9110 §13.1.1) names ``etag``, in quotes, or any. Weak tags match nothing."""
    asked = if_match.strip()
    if asked in {"*", '"*"'}:  # the second is how the examples of the RFC write it, and clients with them
        return True
    tags = [tag.group().strip() for tag in _ENTITY_TAG.finditer(asked)]
    return etag in tags
