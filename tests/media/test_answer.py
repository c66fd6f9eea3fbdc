"""The offer as signaling writes it, and the answer."""

import pytest
from aiortc.sdp import SessionDescription

from services.media.core import sdp
from services.media.core.sdp import AudioSection, DataSection, LocalTransport, UnreadableOfferError
from services.signaling.core.sdp import AUDIO_PROFILES

TRANSPORT = f"""a=ice-ufrag:theirs
a=ice-pwd:{"p" * 22}
a=fingerprint:sha-256 {":".join(["AB"] * 32)}
a=setup:actpass
"""
AUDIO = f"""m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level
{TRANSPORT}"""
DATA = f"""m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
{TRANSPORT}"""
HEAD = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=group:BUNDLE 0 1\n"
LOCAL = LocalTransport(
    ufrag="ours",
    password="secret",  # noqa: S106 - an example
    fingerprint=":".join(["CD"] * 32),
    setup="active",
    addresses=(("192.0.2.9", 5004), ("2001:db8::9", 5004)),
)


def offer(*sections: str) -> str:
    return (HEAD + "".join(sections)).replace("\n", "\r\n")


def answered(*sections: str) -> str:
    return sdp.answer(sdp.parse(offer(*sections)), LOCAL, ssrc=1234)


def test_an_offer_is_read() -> None:
    read = sdp.parse(offer(AUDIO, DATA))
    assert read.audio == AudioSection("0", 111, "sendrecv", 3)
    assert read.data == DataSection("1", 5000, 262_144)
    assert (read.transport.ufrag, read.transport.setup) == ("theirs", "actpass")


def test_the_answer_has_the_same_sections_in_the_same_order() -> None:
    for sections, mids in (((AUDIO, DATA), "0 1"), ((DATA, AUDIO), "1 0"), ((AUDIO,), "0")):
        text = answered(*sections)
        assert f"a=group:BUNDLE {mids}\r\n" in text
        kinds = [media.kind for media in SessionDescription.parse(text).media]
        assert kinds == ["audio" if section is AUDIO else "application" for section in sections]


def test_the_answer_asks_for_wideband_with_fec_and_dtx() -> None:
    text = answered(AUDIO, DATA)
    assert f"a=fmtp:111 {sdp.OPUS_PARAMETERS}\r\n" in text
    parameters = dict(pair.split("=") for pair in sdp.OPUS_PARAMETERS.split(";"))
    assert parameters["useinbandfec"] == parameters["usedtx"] == "1"
    assert parameters["maxplaybackrate"] == "16000"


def test_the_answer_has_one_kind_of_fingerprint_and_both_addresses() -> None:
    text = answered(AUDIO, DATA)
    assert text.count("a=fingerprint:") == text.count("a=fingerprint:sha-256 ") == 2
    media = SessionDescription.parse(text).media[0]
    assert [(c.ip, c.port, c.type) for c in media.ice_candidates] == [
        ("192.0.2.9", 5004, "host"),
        ("2001:db8::9", 5004, "host"),
    ]
    assert media.ice_candidates[0].priority > media.ice_candidates[1].priority
    assert "a=ice-lite\r\n" in text


@pytest.mark.parametrize(
    ("offered", "answer"), [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly")]
)
def test_the_direction_is_the_other_way_round(offered: str, answer: str) -> None:
    text = answered(AUDIO.replace("a=sendrecv", f"a={offered}"))
    assert SessionDescription.parse(text).media[0].direction == answer
    assert ("a=ssrc:1234" in text) == (answer != "recvonly")


@pytest.mark.parametrize("profile", ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"])
@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly"])
@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
def test_the_answer_repeats_the_profile(profile: str, direction: str, setup: str) -> None:
    audio = AUDIO.replace("UDP/TLS/RTP/SAVPF", profile).replace("a=sendrecv", f"a={direction}")
    text = answered(audio.replace("a=setup:actpass", f"a=setup:{setup}"), DATA)
    assert f"m=audio 5004 {profile} 111\r\n" in text


@pytest.mark.parametrize(
    ("direction", "receives_audio", "sends_audio"),
    [("sendrecv", True, True), ("sendonly", False, True), ("recvonly", True, False)],
)
def test_the_direction_says_who_listens_and_who_speaks(
    direction: str, *, receives_audio: bool, sends_audio: bool
) -> None:
    audio = sdp.parse(offer(AUDIO.replace("a=sendrecv", f"a={direction}"))).audio
    assert (audio.receives_audio, audio.sends_audio) == (receives_audio, sends_audio)


def test_signaling_and_media_have_the_same_profiles() -> None:
    assert sdp.PROFILES == AUDIO_PROFILES


def test_an_ipv6_gateway_says_so() -> None:
    local = LocalTransport("u", "p", "f", "active", (("2001:db8::9", 5004),))
    assert "c=IN IP6 2001:db8::9\r\n" in sdp.answer(sdp.parse(offer(AUDIO)), local, ssrc=1)


def test_a_client_without_audio_level_gets_none() -> None:
    text = answered("\n".join(line for line in AUDIO.splitlines() if "extmap" not in line) + "\n")
    assert "extmap" not in text


def test_a_data_section_that_says_no_size_takes_64_kib() -> None:
    read = sdp.parse(offer(AUDIO, DATA.replace("a=max-message-size:262144\n", "")))
    assert read.data == DataSection("1", 5000, 65_536)


def test_we_open_dtls_unless_the_client_insists() -> None:
    assert [sdp.answered_setup(setup) for setup in ("actpass", "passive", "active")] == ["active", "active", "passive"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\r\n",
        "\0\0",
        "x" * 20_000,
        offer(DATA),
        offer(AUDIO, AUDIO.replace("a=mid:0", "a=mid:2")),
        offer(AUDIO, DATA, DATA.replace("a=mid:1", "a=mid:2")),
        offer(AUDIO, DATA.replace("a=mid:1", "a=mid:0")),
        offer(AUDIO.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
        offer(AUDIO.replace("UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF")),
        offer(AUDIO, "m=video 9 UDP/TLS/RTP/SAVPF 96\n"),
        offer(AUDIO.replace("opus", "speex")),
        offer(AUDIO.replace("a=sendrecv", "a=inactive")),
        offer(AUDIO.replace("a=mid:0\n", "")),
        offer(AUDIO.replace("sha-256", "sha-1")),
        offer(AUDIO.replace("a=ice-ufrag:theirs", "a=ice-ufrag:no spaces")),
        offer(AUDIO.replace("a=setup:actpass", "a=setup:holdconn")),
        offer(AUDIO, DATA.replace("a=sctp-port:5000\n", "")),
    ],
)
def test_what_signaling_does_not_write_is_no_offer(text: str) -> None:
    with pytest.raises(UnreadableOfferError):
        sdp.parse(text)
