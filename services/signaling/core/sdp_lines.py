"""SDP lexing: lines become session and media scopes of attributes whose values match a known form.

A malformed attribute that is needed makes the offer invalid; attributes that are not needed are ignored. Each line is
matched once, so parsing takes linear time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_OFFER_BYTES = 16 * 1024
MAX_PORT = 65_535
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_MAX_LINE_CHARS = 1024
_MAX_SECTIONS = 4
_EXTENSION_IDS = range(1, 15)  # RFC 8285 one-byte headers
_KNOWN_LINES = frozenset("vosiuepcbtrzkam")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")  # some parsers also split lines at the last few

_SECTION = re.compile(r"([a-z]{4,11}) ([0-9]{1,6}) ([A-Za-z0-9/.-]{3,32}) ([ -~]{1,256})\Z")
_GROUP = re.compile(r"BUNDLE((?: [A-Za-z0-9_-]{1,32}){1,4})\Z")
_RTPMAP = re.compile(r"([0-9]{1,3}) opus/48000/2\Z", re.IGNORECASE)
_FMTP = re.compile(r"([0-9]{1,3}) ([ -~]{1,512})\Z")
_EXTMAP = re.compile(r"([0-9]{1,3})(?:/[a-z]{8,8})? (\S{1,128})(?: .*)?\Z")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{3,10}) ([0-9A-Fa-f:]{2,400})\Z")
_SHA256 = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){31}\Z")
_VALUES = {
    "mid": re.compile(r"[A-Za-z0-9_-]{1,32}\Z"),
    "ice-ufrag": re.compile(r"[A-Za-z0-9+/]{4,256}\Z"),
    "ice-pwd": re.compile(r"[A-Za-z0-9+/]{22,256}\Z"),
    "setup": re.compile(r"(?:actpass|active|passive)\Z"),
    "sctp-port": re.compile(r"[1-9][0-9]{0,4}\Z"),
    "max-message-size": re.compile(r"[0-9]{1,10}\Z"),
}
_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_FLAGS = frozenset({"rtcp-mux", "bundle-only"})


class InvalidOfferError(ValueError):
    """The offer cannot be answered; ``str()`` is the reason for its author."""


class MalformedOfferError(InvalidOfferError):
    """The text is not SDP: a line does not match the grammar of RFC 8866."""


@dataclass(slots=True)
class Scope:
    """Attributes of the session or of one media section. ``values`` holds the single-valued ones."""

    kind: str = "session"
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    opus: list[int] = field(default_factory=list)
    parameters: dict[int, str] = field(default_factory=dict)
    audio_level: int | None = None

    def set_attribute(self, name: str, value: str) -> None:
        """Set a single-valued attribute.

        Raises:
            InvalidOfferError: it is already set to another value.
        """
        if self.values.setdefault(name, value) != value:
            raise InvalidOfferError(f"a={name} has two values in the {self.kind} section")


def split_lines(offer: bytes) -> list[str]:
    """Split an offer into lines and check each.

    Raises:
        MalformedOfferError: too long, not UTF-8, control characters, or not SDP.
    """
    lines = text_lines(offer)
    if lines[0] != "v=0":
        raise MalformedOfferError("this is no SDP: the first line must be v=0")
    return lines


def text_lines(data: bytes) -> list[str]:
    """Split an offer, or a fragment of one, into lines of valid text.

    Raises:
        MalformedOfferError: too long, not UTF-8, or control characters.
    """
    if len(data) > MAX_OFFER_BYTES:
        raise MalformedOfferError(f"the offer has {len(data)} bytes; at most {MAX_OFFER_BYTES} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedOfferError("the offer is not UTF-8 text") from None
    text = text.replace("\r\n", "\n")
    if _CONTROL.search(text):
        raise MalformedOfferError("the offer holds control characters or a lone CR; lines end in CRLF")
    return text.rstrip("\n").split("\n")


def check_line(number: int, line: str) -> None:
    """Check that ``line`` has the form of an SDP line.

    Raises:
        MalformedOfferError: too long, or not a known letter and `=`.
    """
    if len(line) > _MAX_LINE_CHARS or line[1:2] != "=" or line[0] not in _KNOWN_LINES:
        raise MalformedOfferError(f"line {number} is no SDP line of at most {_MAX_LINE_CHARS} characters")


def read_scopes(lines: list[str]) -> tuple[Scope, list[Scope]]:
    """Return the session-level attributes and those of each media section.

    Raises:
        InvalidOfferError: a line or a needed value is malformed.
    """
    session = scope = Scope()
    sections: list[Scope] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        check_line(number, line)
        letter, value = line[0], line[2:]
        seen.add(letter)
        if letter == "m":
            if len(sections) == _MAX_SECTIONS:
                raise InvalidOfferError(f"the offer has more than {_MAX_SECTIONS} sections (m= lines)")
            scope = _open_section(number, value)
            sections.append(scope)
        elif letter == "a":
            read_attribute(scope, value)
    if missing := sorted({"o", "s", "t"} - seen):
        raise MalformedOfferError(f"this is no SDP: it lacks {', '.join(f'{letter}=' for letter in missing)}")
    return session, sections


def _open_section(number: int, value: str) -> Scope:
    matched = _SECTION.match(value)
    if matched is None or int(matched[2]) > MAX_PORT:
        raise MalformedOfferError(f"line {number} is no valid m= line, or its port is above {MAX_PORT}")
    return Scope(kind=matched[1], port=int(matched[2]), protocol=matched[3], formats=tuple(matched[4].split(" ")))


def read_attribute(scope: Scope, text: str) -> None:
    """Record the attribute if the gateway uses it.

    Raises:
        InvalidOfferError: a needed value is malformed, or differs from an earlier one.
    """
    name, _, value = text.partition(":")
    if name in _DIRECTIONS:
        scope.set_attribute("direction", name)
    elif name in _FLAGS:
        scope.flags.add(name)
    elif name in _VALUES:
        if not _VALUES[name].match(value):
            raise MalformedOfferError(f"a={name} of the {scope.kind} section has no valid value")
        scope.set_attribute(name, value)
    elif name in _READERS:
        _READERS[name](scope, value)


def _group(scope: Scope, value: str) -> None:
    if matched := _GROUP.match(value):
        scope.set_attribute("group", matched[1].strip())


def _fingerprint(scope: Scope, value: str) -> None:
    matched = _FINGERPRINT.match(value)
    if matched is None:
        raise MalformedOfferError(f"a=fingerprint of the {scope.kind} section has no valid value")
    if matched[1].lower() == "sha-256":
        digest = matched[2].upper()
        if not _SHA256.match(digest):
            raise InvalidOfferError("a sha-256 fingerprint has 32 pairs of hex digits")
        scope.set_attribute("fingerprint", digest)


def _rtpmap(scope: Scope, value: str) -> None:
    if matched := _RTPMAP.match(value):
        scope.opus.append(int(matched[1]))


def _fmtp(scope: Scope, value: str) -> None:
    if matched := _FMTP.match(value):
        scope.parameters.setdefault(int(matched[1]), matched[2])


def _extmap(scope: Scope, value: str) -> None:
    matched = _EXTMAP.match(value)
    if matched and matched[2] == AUDIO_LEVEL and int(matched[1]) in _EXTENSION_IDS:
        scope.audio_level = int(matched[1])


_READERS: dict[str, Callable[[Scope, str], None]] = {
    "group": _group,
    "fingerprint": _fingerprint,
    "rtpmap": _rtpmap,
    "fmtp": _fmtp,
    "extmap": _extmap,
}
