"""SDP fragments and If-Match of WHIP; the endpoint's behaviour is tested in test_whip_api.py."""

import pytest

from services.signaling.core import whip
from services.signaling.core.sdp_lines import InvalidOfferError, MalformedOfferError
from services.signaling.core.whip import Fragment

TRANSPORT = (
    f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\na=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\n"
)
SESSION = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n" + TRANSPORT
CANDIDATE = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"


@pytest.mark.parametrize("direction", ["sendonly", "sendrecv"])
def test_an_offer_of_audio_alone_is_read(direction: str) -> None:
    offer = whip.read_offer(f"{SESSION}{AUDIO}a={direction}\r\n".encode())
    assert offer.audio.direction == direction
    assert "a=group:BUNDLE 0\r\n" in offer.serialise()
    assert offer.serialise().count("m=") == 1
    assert whip.read_offer(offer.serialise().encode()) == offer


def test_a_group_that_is_named_must_hold_the_audio() -> None:
    with pytest.raises(InvalidOfferError, match="BUNDLE"):
        whip.read_offer(f"{SESSION}a=group:BUNDLE 1\r\n{AUDIO}".encode())


def test_an_offer_that_brings_no_audio_is_refused() -> None:
    with pytest.raises(InvalidOfferError, match="recvonly"):
        whip.read_offer(f"{SESSION}{AUDIO}a=recvonly\r\n".encode())


def test_a_data_channel_alone_is_refused() -> None:
    data = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=sctp-port:5000\r\n{TRANSPORT}"
    with pytest.raises(InvalidOfferError, match="at most one data channel"):
        whip.read_offer(f"{SESSION}{data}".encode())


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (f"a=ice-ufrag:ysXw\r\na=ice-pwd:{'q' * 24}\r\n", Fragment("ysXw", "q" * 24)),
        (
            f"m=audio 9 RTP/AVP 0\na=mid:0\na=ice-ufrag:ysXw\na=ice-pwd:{'q' * 24}\n{CANDIDATE}",
            Fragment("ysXw", "q" * 24),
        ),
        (f"m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{CANDIDATE}a=end-of-candidates\r\n", Fragment(None, None)),
    ],
)
def test_a_fragment_tells_the_clients_end_of_ice(body: str, read: Fragment) -> None:
    assert whip.read_fragment(body.encode()) == read


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        "a=ice-ufrag:abcd".encode("utf-16"),
        b"ice-ufrag:abcd",
        b"a=ice-ufrag:abcd",
        b"a=ice-pwd:" + b"p" * 22,
        b"a=ice-ufrag:a\r\na=ice-pwd:" + b"p" * 22,
        b"a=ice-ufrag:abcd\r\na=ice-ufrag:abce",
        b"a=" + b"x" * 2000,
        b"a=x\r\n" * 4000,
    ],
)
def test_what_is_no_fragment_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidOfferError):
        whip.read_fragment(body)


def test_the_gateways_end_of_ice_is_written_once_with_its_candidates() -> None:
    section = f"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{CANDIDATE}{TRANSPORT}"
    other = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n{CANDIDATE}{TRANSPORT}"
    assert whip.write_fragment(SESSION + section + other).split("\r\n") == [
        "a=ice-ufrag:abcd",
        f"a=ice-pwd:{'p' * 22}",
        "m=audio 9 RTP/AVP 0",
        "a=mid:0",
        CANDIDATE.strip(),
        "a=end-of-candidates",
        "",
    ]


def test_an_answer_without_ice_makes_no_fragment() -> None:
    with pytest.raises(InvalidOfferError, match="ice-ufrag"):
        whip.write_fragment(SESSION)


def test_a_password_is_not_kept() -> None:
    offer = whip.read_offer(f"{SESSION}{AUDIO}".encode())
    kept = whip.without_password(offer)
    assert "p" * 22 not in kept
    assert whip.read_offer(kept.encode()).with_ice("abcd", "p" * 22) == offer


@pytest.mark.parametrize("condition", ["*", ' "*" ', '"tag"', '"other", "tag"', '"other","tag"'])
def test_a_condition_that_names_the_session_holds(condition: str) -> None:
    assert whip.matches(condition, '"tag"')


@pytest.mark.parametrize("condition", ["", "tag", '"other"', 'W/"tag"', '"tag', '"*", "other"'])
def test_a_condition_that_names_another_does_not(condition: str) -> None:
    assert not whip.matches(condition, '"tag"')


def test_what_is_no_sdp_is_told_apart_from_what_is_not_answered() -> None:
    with pytest.raises(MalformedOfferError):
        whip.read_offer(b"v=0\r\nm=audio 99999 UDP/TLS/RTP/SAVPF 111\r\n")
    with pytest.raises(InvalidOfferError) as refused:
        whip.read_offer(f"{SESSION}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n".encode())
    assert not isinstance(refused.value, MalformedOfferError)
