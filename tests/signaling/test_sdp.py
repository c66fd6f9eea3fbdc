import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from services.signaling.core.sdp import AudioMedia, DataChannel, parse
from services.signaling.core.sdp_lines import MAX_OFFER_BYTES, InvalidOfferError
from tests.signaling.offers import sanitise

GOLDEN = json.loads((Path(__file__).parent / "golden" / "offers.json").read_text())
FINGERPRINT = ":".join(["AB"] * 32)
SESSION = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1"]
TRANSPORT = ["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 22, f"a=fingerprint:sha-256 {FINGERPRINT}", "a=setup:actpass"]
AUDIO = ["m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=rtcp-mux", "a=rtpmap:111 opus/48000/2", *TRANSPORT]
DATA = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:1", "a=sctp-port:5000"]
VIDEO = ["m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:2", "a=rtcp-mux", "a=rtpmap:96 VP8/90000"]
LINES = [*SESSION, *AUDIO, *DATA]
PROFILES = ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"]
REFUSED_PROFILES = [
    "RTP/AVP",  # no encryption
    "RTP/AVPF",
    "TCP/DTLS/RTP/SAVPF",  # the media port is UDP
    "TCP/DTLS/RTP/SAVP",
    "udp/tls/rtp/savpf",  # names are written in capitals (RFC 8866 §5.14)
    "UDP/TLS/RTP/SAVPFF",
    "SAVPF",
]


def text(*lines: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n").encode()


def without(line: str) -> bytes:
    assert line in LINES
    return text(*(each for each in LINES if each != line))


def instead(old: str, *new: str) -> bytes:
    assert old in LINES
    return text(*(n for each in LINES for n in (new if each == old else (each,))))


@pytest.mark.parametrize("name", GOLDEN)
def test_offers_of_real_clients_are_written_anew_as_recorded(name: str) -> None:
    assert sanitise("\r\n".join(GOLDEN[name]["offer"]).encode()).split("\r\n") == GOLDEN[name]["sanitised"]


@pytest.mark.parametrize("name", GOLDEN)
def test_what_is_written_is_read_by_aiortc(name: str) -> None:
    described = SessionDescription.parse("\r\n".join(GOLDEN[name]["sanitised"]))
    audio, data = described.media
    assert (audio.kind, data.kind) == ("audio", "application")
    assert not audio.ice_candidates
    assert audio.rtcp_mux
    assert [codec.mimeType for codec in audio.rtp.codecs] == ["audio/opus"]


@pytest.mark.parametrize("name", GOLDEN)
def test_what_is_written_is_a_fixed_point(name: str) -> None:
    once = "\r\n".join(GOLDEN[name]["sanitised"])
    assert sanitise(once.encode()) == once


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly"])
@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
@pytest.mark.parametrize("data", [(), DATA])
def test_every_profile_of_dtls_srtp_is_read_and_written_as_it_came(
    profile: str, direction: str, setup: str, data: Sequence[str]
) -> None:
    audio = [f"m=audio 9 {profile} 111", *AUDIO[1:-1], f"a=setup:{setup}", f"a={direction}"]
    group = "a=group:BUNDLE 0 1" if data else "a=group:BUNDLE 0"
    offer = parse(text(*SESSION[:-1], group, *audio, *data))
    assert (offer.audio.profile, offer.audio.direction, offer.transport.setup) == (profile, direction, setup)
    written = offer.serialise()
    assert f"m=audio 9 {profile} 111\r\n" in written
    assert parse(written.encode()) == offer


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_needs_rtcp_on_the_port_of_rtp(profile: str) -> None:
    audio = [f"m=audio 9 {profile} 111", *(line for line in AUDIO[1:] if line != "a=rtcp-mux")]
    with pytest.raises(InvalidOfferError, match="rtcp-mux"):
        parse(text(*SESSION, *audio, *DATA))


def test_audio_alone_needs_no_group() -> None:
    assert "a=group:BUNDLE 0\r\n" in sanitise(text(*SESSION[:-1], *AUDIO))


def test_lines_may_end_in_lf_alone() -> None:
    assert sanitise(text(*LINES).replace(b"\r\n", b"\n")) == sanitise(text(*LINES))


def test_the_order_of_the_sections_is_kept() -> None:
    offer = parse(text(*SESSION, *DATA, *TRANSPORT, *AUDIO))
    assert [type(section) for section in offer.sections] == [DataChannel, AudioMedia]


def test_the_session_stands_in_for_what_a_section_lacks() -> None:
    bare = [line for line in AUDIO if line not in TRANSPORT]
    offer = parse(text(*SESSION, *TRANSPORT, *bare, *DATA))
    assert (offer.transport.ufrag, offer.transport.fingerprint) == ("abcd", FINGERPRINT)


def test_a_bundled_section_may_have_no_port_of_its_own() -> None:
    offer = parse(instead(DATA[0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "a=bundle-only"))
    assert "m=application 9 " in offer.serialise()


def test_only_known_opus_parameters_with_numbers_are_kept() -> None:
    fmtp = "a=fmtp:111 minptime=10; useinbandfec=1;x-evil=1;stereo=a;cbr;minptime=20"
    offer = parse(instead("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 OPUS/48000/2", fmtp))
    assert "a=fmtp:111 minptime=10;useinbandfec=1\r\n" in offer.serialise()


def test_of_the_header_extensions_the_audio_level_is_kept() -> None:
    level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    more = ("a=mid:0", f"a=extmap:3/sendrecv {level} vad=on", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid")
    assert "a=extmap:3 " + level in sanitise(instead("a=mid:0", *more))
    assert "extmap" not in sanitise(instead("a=mid:0", "a=mid:0", f"a=extmap:15 {level}", "a=extmap:x"))


def test_nothing_unknown_is_kept() -> None:
    more = (
        "a=mid:0",
        "a=candidate:1 1 udp 1 169.254.169.254 80 typ host",
        "a=x-evil:1",
        "a=msid:é é",
        "b=AS:30",
        "a=fmtp:x",
    )
    written = sanitise(instead("a=mid:0", *more))
    assert written == sanitise(text(*LINES))
    assert "169.254" not in written


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        (b"", "first line must be v=0"),
        (b"v=0", "it lacks o=, s=, t="),
        (b"v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "it has: nothing"),
        (text(*LINES).replace(b"a=mid", b"\x00a=mid"), "control characters"),
        (text(*LINES).replace(b"\r\n", b"\r"), "lone CR"),
        (text(*LINES).decode().encode("utf-16"), "not UTF-8"),
        (text(*LINES).decode().encode("utf-16-le"), "control characters"),
        (instead("s=-", "s=a\u2028m=audio"), "control characters"),
        (instead("s=-", "s=" + "x" * 1023), "line 3"),
        (instead("s=-", "s=-", "", "x=1"), "line 4"),
        (instead("s=-", "s=-", "q=1"), "line 4"),
        (b"v=0\r\n" + b"a" * MAX_OFFER_BYTES, "at most 16384"),
        (text(*LINES, *VIDEO), "section of video"),
        (text(*LINES, "m=video 0 UDP/TLS/RTP/SAVPF 96"), "switched off"),
        (text(*LINES, *DATA), "one audio section and at most one data channel"),
        (text(*SESSION, *AUDIO), "BUNDLE"),
        (text(*SESSION, *DATA, *TRANSPORT), "it has: application"),
        (text(*LINES, *VIDEO, *VIDEO, *VIDEO), "more than 4 sections"),
        (instead(AUDIO[0], "m=audio 65536 UDP/TLS/RTP/SAVPF 111"), "port is above"),
        (instead(AUDIO[0], "m=audio 99999999999999999999 UDP/TLS/RTP/SAVPF 111"), "no valid m= line"),
        *(
            (instead(AUDIO[0], f"m=audio 9 {profile} 111"), f"audio over {profile} is not answered here: only")
            for profile in REFUSED_PROFILES
        ),
        (instead(DATA[0], "m=application 9 TCP/DTLS/SCTP webrtc-datachannel"), "application over TCP/DTLS/SCTP"),
        (text(*LINES, "m=image 9 udptl t38", "a=mid:2"), "image over udptl"),
        (instead(AUDIO[0], "m=audio 9 UDP/TLS/RTP/SAVPF 112"), "must offer opus"),
        (instead(AUDIO[3], "a=rtpmap:111 PCMU/8000"), "must offer opus"),
        (text(*LINES).replace(b"111", b"72"), "must offer opus"),
        (text(*LINES).replace(b"111", b"200"), "must offer opus"),
        (without("a=rtcp-mux"), "rtcp-mux"),
        (instead("a=rtcp-mux", "a=rtcp-mux", "a=inactive"), "inactive"),
        (instead("a=rtcp-mux", "a=rtcp-mux", "a=sendonly", "a=recvonly"), "a=direction has two values"),
        (without("a=group:BUNDLE 0 1"), "BUNDLE"),
        (instead("a=group:BUNDLE 0 1", "a=group:LS 0 1"), "BUNDLE"),
        (instead("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 2"), "BUNDLE"),
        (text(*LINES).replace(b"a=mid:1", b"a=mid:0").replace(b"E 0 1", b"E 0 0"), "BUNDLE"),
        (without("a=mid:0"), "no a=mid"),
        (instead("a=mid:0", "a=mid:0\u00e9"), "a=mid of the audio section"),
        (without("a=ice-ufrag:abcd"), "ice-ufrag"),
        (instead("a=ice-ufrag:abcd", "a=ice-ufrag:abc"), "ice-ufrag"),
        (instead("a=ice-ufrag:abcd", "a=ice-ufrag:" + "a" * 257), "ice-ufrag"),
        (instead("a=ice-pwd:" + "p" * 22, "a=ice-pwd:" + "p" * 21), "ice-pwd"),
        (without("a=setup:actpass"), "a=setup"),
        (instead("a=setup:actpass", "a=setup:holdconn"), "a=setup"),
        (without(TRANSPORT[2]), "sha-256"),
        (instead(TRANSPORT[2], "a=fingerprint:sha-1 " + ":".join(["AB"] * 20)), "sha-256"),
        (instead(TRANSPORT[2], "a=fingerprint:sha-256 AB:CD"), "32 pairs"),
        (instead(TRANSPORT[2], "a=fingerprint:?"), "a=fingerprint"),
        (without("a=sctp-port:5000"), "sctp-port"),
        (instead("a=sctp-port:5000", "a=sctp-port:65536"), "sctp-port"),
        (instead(DATA[0], "m=application 9 UDP/DTLS/SCTP 5000"), "webrtc-datachannel"),
    ],
)
def test_an_offer_that_we_do_not_answer_is_refused_with_the_reason(offer: bytes, expected: str) -> None:
    with pytest.raises(InvalidOfferError, match=re.escape(expected)):
        sanitise(offer)


def test_as_many_candidates_as_fit_do_no_harm() -> None:
    candidates = ["a=candidate:1 1 udp 1 10.0.0.1 9 typ host"] * 350
    assert "candidate" not in sanitise(text(*LINES, *candidates))


def test_without_a_message_size_none_is_written() -> None:
    assert "max-message-size" not in sanitise(text(*LINES))


WRITTEN = re.compile(r"[vostcma]=[ -~]{1,600}\Z")


@given(st.lists(st.tuples(st.integers(0, len(LINES)), st.text(max_size=40) | st.sampled_from(LINES)), max_size=5))
def test_whatever_is_mixed_in_the_offer_is_refused_or_written_safely(mixed: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for place, line in mixed:
        lines.insert(place, line)
    try:
        written = sanitise("\r\n".join(lines).encode("utf-8", "surrogatepass"))
    except InvalidOfferError:
        return
    assert all(WRITTEN.match(line) for line in written.removesuffix("\r\n").split("\r\n"))
    assert sanitise(written.encode()) == written
