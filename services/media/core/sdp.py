"""Offers as signaling writes them, and our answers: one audio section with Opus, and perhaps one data channel.

Signaling has parsed the client's offer by an allow-list and rewritten it (signaling/core/sdp.py); any other form is
refused here, too. The answer requests the cheapest encoding of good quality: wideband Opus with in-band FEC and DTX,
so that a silent talker sends nothing. 32 kbit/s: at 24 the codec alone is below PESQ 4 for some voices (3.89 and 4.26
for two of flite's, against 4.29 and 4.43).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Literal

from services.contracts.client_event import MAX_EVENT_BYTES

MAX_OFFER_CHARS = 16 * 1024
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
OPUS_PARAMETERS = "minptime=10;useinbandfec=1;usedtx=1;maxplaybackrate=16000;maxaveragebitrate=32000;stereo=0"
CNAME = "hushgate"
PROFILES = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP")
"""All mean SRTP with keys by DTLS over UDP; the answer repeats the offer's (RFC 8829 §5.1.2). The F says that the
client understands early feedback (RFC 4585): we send none, only reports at the pace of RFC 3550, which fits all four.
"""

Direction = Literal["sendrecv", "sendonly", "recvonly"]
DtlsSetup = Literal["active", "passive"]
_ANSWERS: dict[str, Direction] = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly"}
_HOST_PRIORITY = (126 << 24) | (65_535 << 8) | 255  # RFC 8445 §5.1.2.1: a host candidate, component 1


class UnreadableOfferError(ValueError):
    """The text is not an offer in the form that signaling writes."""


@dataclass(frozen=True, slots=True)
class AudioSection:
    """The audio section, with the client's payload types."""

    mid: str
    payload_type: int
    direction: str
    audio_level_id: int | None
    profile: str = PROFILES[0]

    @property
    def receives_audio(self) -> bool:
        """Whether the client receives audio."""
        return self.direction != "sendonly"

    @property
    def sends_audio(self) -> bool:
        """Whether the client sends audio."""
        return self.direction != "recvonly"


@dataclass(frozen=True, slots=True)
class DataSection:
    """The data channel's section."""

    mid: str
    sctp_port: int
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The client's ICE credentials, DTLS fingerprint and role. ``setup`` is the offer's `a=setup`."""

    ufrag: str
    password: str
    fingerprint: str
    setup: str


@dataclass(frozen=True, slots=True)
class ParsedOffer:
    """A parsed offer."""

    transport: RemoteTransport
    sections: tuple[AudioSection | DataSection, ...]

    @property
    def audio(self) -> AudioSection:
        """The one audio section."""
        return next(section for section in self.sections if isinstance(section, AudioSection))

    @property
    def data(self) -> DataSection | None:
        """The data channel's section, if there is one."""
        return next((section for section in self.sections if isinstance(section, DataSection)), None)


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our transport parameters. ``addresses``: the candidates, all with the same UDP port."""

    ufrag: str
    password: str
    fingerprint: str
    setup: DtlsSetup
    addresses: tuple[tuple[str, int], ...]


def parse(text: str) -> ParsedOffer:
    """Parse an offer.

    Raises:
        UnreadableOfferError: it is not in the form that signaling writes.
    """
    if len(text) > MAX_OFFER_CHARS:
        raise UnreadableOfferError("the offer is too long")
    _, *blocks = re.split(r"^(?=m=)", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    sections = tuple(_section(block) for block in blocks)
    kinds = [type(section) for section in sections]
    if kinds.count(AudioSection) != 1 or kinds.count(DataSection) > 1:
        raise UnreadableOfferError("one audio section is needed, at most one data channel, and no video")
    if len({section.mid for section in sections}) != len(sections):
        raise UnreadableOfferError("two sections have the same a=mid")
    return ParsedOffer(_transport(blocks[0]), sections)


def answer(offer: ParsedOffer, local: LocalTransport, *, ssrc: int) -> str:
    """Return the answer to ``offer``: the same sections in the same order, bundled on one port."""
    host, port = local.addresses[0]
    mids = " ".join(section.mid for section in offer.sections)
    lines = ["v=0", f"o=- 1 1 IN {_family(host)} {host}", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {mids}", "a=ice-lite", "a=msid-semantic:WMS *"]
    for section in offer.sections:
        if isinstance(section, AudioSection):
            lines += [f"m=audio {port} {section.profile} {section.payload_type}", f"c=IN {_family(host)} {host}"]
            lines += _audio_lines(section, ssrc)
        else:
            lines += [f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel", f"c=IN {_family(host)} {host}"]
            lines += ["a=sctp-port:5000", f"a=max-message-size:{MAX_EVENT_BYTES}"]
        lines += [f"a=mid:{section.mid}", *_transport_lines(local)]
    return "\r\n".join(lines) + "\r\n"


def answered_setup(offered: str) -> DtlsSetup:
    """Return our DTLS role (RFC 5763 §5): active unless the client is, which saves a round trip."""
    return "passive" if offered == "active" else "active"


def _audio_lines(section: AudioSection, ssrc: int) -> list[str]:
    direction = _ANSWERS[section.direction]
    lines = [f"a={direction}", "a=rtcp-mux", f"a=rtpmap:{section.payload_type} opus/48000/2"]
    lines += [f"a=fmtp:{section.payload_type} {OPUS_PARAMETERS}", "a=ptime:20"]
    if section.audio_level_id is not None:
        lines.append(f"a=extmap:{section.audio_level_id} {AUDIO_LEVEL}")
    if direction != "recvonly":
        lines += [f"a=msid:{CNAME} audio", f"a=ssrc:{ssrc} cname:{CNAME}"]
    return lines


def _transport_lines(local: LocalTransport) -> list[str]:
    candidates = [
        f"a=candidate:{number} 1 udp {_HOST_PRIORITY - ((number - 1) << 8)} {host} {port} typ host"
        for number, (host, port) in enumerate(local.addresses, start=1)
    ]
    return [
        *candidates,
        "a=end-of-candidates",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        f"a=setup:{local.setup}",
    ]


def _family(host: str) -> str:
    return "IP6" if isinstance(ip_address(host), IPv6Address) else "IP4"


def _section(block: str) -> AudioSection | DataSection:
    if matched := re.match(r"m=audio \d{1,5} ([A-Z/]+) (\d{1,3})\n", block):
        profile, payload_type = matched[1], int(matched[2])
        if profile not in PROFILES:
            raise UnreadableOfferError(f"audio over {profile} is not answered")
        _value(block, rf"a=rtpmap:{payload_type} (opus)/48000/2", "Opus")
        level = re.search(rf"^a=extmap:(\d{{1,2}}) {re.escape(AUDIO_LEVEL)}$", block, re.MULTILINE)
        return AudioSection(
            mid=_value(block, r"a=mid:([A-Za-z0-9_-]{1,32})", "a=mid"),
            payload_type=payload_type,
            direction=_value(block, r"a=(sendrecv|sendonly|recvonly)", "a direction"),
            audio_level_id=int(level[1]) if level else None,
            profile=profile,
        )
    if re.match(r"m=application \d{1,5} UDP/DTLS/SCTP webrtc-datachannel\n", block):
        size = re.search(r"^a=max-message-size:(\d{1,10})$", block, re.MULTILINE)
        return DataSection(
            mid=_value(block, r"a=mid:([A-Za-z0-9_-]{1,32})", "a=mid"),
            sctp_port=int(_value(block, r"a=sctp-port:(\d{1,5})", "a=sctp-port")),
            max_message_bytes=int(size[1]) if size else 65_536,  # RFC 8841 §6.1
        )
    raise UnreadableOfferError("a section is neither Opus nor a data channel")


def _transport(block: str) -> RemoteTransport:
    return RemoteTransport(
        ufrag=_value(block, r"a=ice-ufrag:([A-Za-z0-9+/]{4,256})", "a=ice-ufrag"),
        password=_value(block, r"a=ice-pwd:([A-Za-z0-9+/]{22,256})", "a=ice-pwd"),
        fingerprint=_value(block, r"a=fingerprint:sha-256 ([0-9A-F:]{95})", "a sha-256 fingerprint"),
        setup=_value(block, r"a=setup:(actpass|active|passive)", "a=setup"),
    )


def _value(block: str, pattern: str, what: str) -> str:
    matched = re.search(f"^{pattern}$", block, re.MULTILINE)
    if matched is None:
        raise UnreadableOfferError(f"the offer lacks {what}")
    return matched[1]
