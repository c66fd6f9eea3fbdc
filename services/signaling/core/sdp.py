"""Parse offers by an allow-list grammar and serialise them anew, so that media receives only checked values.

An offer has one audio section with Opus and at most one data channel, bundled.
The serialised offer omits everything that media does not use: candidates (the pod would send STUN wherever they
point), stream and track names, other codecs, feedback, addresses. A video section is refused, not declined, so that a
caller who needs video gets an error at once.
"""

import re
from dataclasses import dataclass, replace

from services.signaling.core.sdp_lines import AUDIO_LEVEL, MAX_PORT, InvalidOfferError, Scope, read_scopes, split_lines

_OPUS_PARAMETERS = frozenset(
    {
        "cbr",
        "maxaveragebitrate",
        "maxplaybackrate",
        "maxptime",
        "minptime",
        "ptime",
        "sprop-maxcapturerate",
        "sprop-stereo",
        "stereo",
        "usedtx",
        "useinbandfec",
    }
)
AUDIO_PROFILES = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP")
"""Spellings of the profile for SRTP keyed by DTLS over UDP. All are equivalent; the answer repeats the offer's (RFC
8829 §5.1.2). That RFC also accepts RTP/AVP and TCP/DTLS/RTP/SAVPF: no encryption, and TCP, which media lacks.
"""
_INTEGER = re.compile(r"[0-9]{1,7}\Z")
_RESERVED_FOR_RTCP = range(64, 96)  # RFC 5761 §4
_MAX_PAYLOAD_TYPE = 127


@dataclass(frozen=True, slots=True)
class PeerTransport:
    """ICE and DTLS attributes of the caller, common to all bundled sections."""

    ufrag: str
    password: str
    fingerprint: str
    setup: str


@dataclass(frozen=True, slots=True)
class AudioMedia:
    """The audio section, with the caller's payload type for Opus."""

    mid: str
    payload_type: int
    parameters: str
    direction: str
    audio_level: int | None
    profile: str = AUDIO_PROFILES[0]


@dataclass(frozen=True, slots=True)
class DataChannel:
    """The data channel's section."""

    mid: str
    sctp_port: int
    max_message_size: int | None


@dataclass(frozen=True, slots=True)
class ClientOffer:
    """A parsed offer; ``sections`` are in the caller's order."""

    transport: PeerTransport
    sections: tuple[AudioMedia | DataChannel, ...]

    @property
    def audio(self) -> AudioMedia:
        """The audio section; every parsed offer has one."""
        return next(section for section in self.sections if isinstance(section, AudioMedia))

    def with_ice(self, ufrag: str, password: str) -> "ClientOffer":
        """Return the offer with other ICE credentials, for an ICE restart."""
        return replace(self, transport=replace(self.transport, ufrag=ufrag, password=password))

    def serialise(self) -> str:
        """Return the SDP for media; it contains only checked values."""
        mids = " ".join(section.mid for section in self.sections)
        lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]
        for section in self.sections:
            lines += _audio_lines(section) if isinstance(section, AudioMedia) else _data_lines(section)
            lines += (
                f"a=ice-ufrag:{self.transport.ufrag}",
                f"a=ice-pwd:{self.transport.password}",
                f"a=fingerprint:sha-256 {self.transport.fingerprint}",
                f"a=setup:{self.transport.setup}",
            )
        return "\r\n".join(lines) + "\r\n"


def parse(offer: bytes) -> ClientOffer:
    """Parse an offer.

    Raises:
        InvalidOfferError: the offer is malformed or asks for something that is not supported.
    """
    session, sections = read_scopes(split_lines(offer))
    bundle = session.values.get("group", "").split()
    known = tuple(_section(section) for section in sections)
    kinds = sorted(section.kind for section in sections)
    if kinds == ["audio"]:
        bundle = bundle or [sections[0].values["mid"]]  # a single section needs no BUNDLE group
    elif kinds != ["application", "audio"]:
        raise InvalidOfferError(
            "the offer must have one audio section and at most one data channel, created before the offer; "
            f"it has: {', '.join(kinds) or 'nothing'}"
        )
    if len(set(bundle)) != len(known) or set(bundle) != {section.mid for section in known}:
        raise InvalidOfferError("all sections must be in one a=group:BUNDLE, by their a=mid")
    first = next(scope for scope in sections if scope.values["mid"] == bundle[0])
    return ClientOffer(_transport(session, first), known)


def _section(scope: Scope) -> AudioMedia | DataChannel:
    if scope.port == 0 and "bundle-only" not in scope.flags:
        raise InvalidOfferError(f"the {scope.kind} section is switched off (port 0)")
    if "mid" not in scope.values:
        raise InvalidOfferError(f"the {scope.kind} section has no a=mid")
    if scope.kind == "audio" and scope.protocol in AUDIO_PROFILES:
        return _audio(scope)
    if scope.kind == "application" and scope.protocol == "UDP/DTLS/SCTP":
        return _data_channel(scope)
    raise InvalidOfferError(
        f"a section of {scope.kind} over {scope.protocol} is not answered here: "
        f"only audio over {', '.join(AUDIO_PROFILES)} and a data channel over UDP/DTLS/SCTP are"
    )


def _audio(scope: Scope) -> AudioMedia:
    if "rtcp-mux" not in scope.flags:
        raise InvalidOfferError("the audio section must have a=rtcp-mux")
    payload_type = next((number for number in scope.opus if _usable(number, scope.formats)), None)
    if payload_type is None:
        raise InvalidOfferError("the audio section must offer opus/48000/2 with a dynamic payload type")
    direction = scope.values.get("direction", "sendrecv")
    if direction == "inactive":
        raise InvalidOfferError("the audio section is inactive: no audio would flow")
    return AudioMedia(
        mid=scope.values["mid"],
        payload_type=payload_type,
        parameters=_opus_parameters(scope.parameters.get(payload_type, "")),
        direction=direction,
        audio_level=scope.audio_level,
        profile=scope.protocol,
    )


def _usable(payload_type: int, formats: tuple[str, ...]) -> bool:
    free = payload_type <= _MAX_PAYLOAD_TYPE and payload_type not in _RESERVED_FOR_RTCP
    return free and str(payload_type) in formats


def _opus_parameters(text: str) -> str:
    kept: dict[str, str] = {}
    for parameter in text.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name in _OPUS_PARAMETERS and _INTEGER.match(value):
            kept.setdefault(name, str(int(value)))
    return ";".join(f"{name}={value}" for name, value in kept.items())


def _data_channel(scope: Scope) -> DataChannel:
    port = int(scope.values.get("sctp-port", "0"))
    if scope.formats != ("webrtc-datachannel",) or not 1 <= port <= MAX_PORT:
        raise InvalidOfferError("the data channel's section must have webrtc-datachannel and a=sctp-port")
    size = scope.values.get("max-message-size")
    return DataChannel(scope.values["mid"], port, int(size) if size is not None else None)


def _transport(session: Scope, first: Scope) -> PeerTransport:
    """Return the transport attributes of the BUNDLE-tagged section, session-level ones as fallback (RFC 8843 §7)."""
    values = session.values | first.values
    for name, what in (("ice-ufrag", "a=ice-ufrag"), ("ice-pwd", "a=ice-pwd"), ("setup", "a=setup")):
        if name not in values:
            raise InvalidOfferError(f"the offer has no {what}")
    if "fingerprint" not in values:
        raise InvalidOfferError("the offer has no sha-256 a=fingerprint; weaker ones are not accepted")
    return PeerTransport(values["ice-ufrag"], values["ice-pwd"], values["fingerprint"], values["setup"])


def _audio_lines(audio: AudioMedia) -> list[str]:
    lines = [
        f"m=audio 9 {audio.profile} {audio.payload_type}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{audio.mid}",
        f"a={audio.direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{audio.payload_type} opus/48000/2",
    ]
    if audio.parameters:
        lines.append(f"a=fmtp:{audio.payload_type} {audio.parameters}")
    if audio.audio_level is not None:
        lines.append(f"a=extmap:{audio.audio_level} {AUDIO_LEVEL}")
    return lines


def _data_lines(data: DataChannel) -> list[str]:
    lines = [
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{data.mid}",
        f"a=sctp-port:{data.sctp_port}",
    ]
    if data.max_message_size is not None:
        lines.append(f"a=max-message-size:{data.max_message_size}")
    return lines
