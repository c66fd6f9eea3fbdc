import struct

import pytest
from aiortc.rtp import RtpPacket as Reference
from hypothesis import given
from hypothesis import strategies as st

from services.media.core.rtp import opus_toc, rtp_packet
from services.media.core.rtp.rtp_packet import RtpPacket

HEADER = rtp_packet.header(111, 7, 960, 0xABCD)
ONE_BYTE_EXTENSION = bytes.fromhex("bede0001 10850000")
TWO_BYTE_EXTENSION = bytes.fromhex("10000002 0101850201070000")


def with_flags(flags: int, rest: bytes) -> bytes:
    return bytes([0x80 | flags]) + HEADER[1:] + rest


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (HEADER + b"voice", b"voice"),
        (HEADER, b""),
        (with_flags(0x02, bytes(8) + b"voice"), b"voice"),  # two contributing sources
        (with_flags(0x10, ONE_BYTE_EXTENSION + b"voice"), b"voice"),
        (with_flags(0x10, TWO_BYTE_EXTENSION + b"voice"), b"voice"),
        (with_flags(0x20, b"voice\0\0\3"), b"voice"),
        (with_flags(0x20, b"\0\0\3"), b""),  # padding alone
        (with_flags(0x31, bytes(4) + ONE_BYTE_EXTENSION + b"voice\1"), b"voice"),
    ],
)
def test_the_payload_is_found_behind_all_that_may_precede_it(data: bytes, payload: bytes) -> None:
    assert rtp_packet.parse(data) == RtpPacket(111, 7, 960, 0xABCD, payload)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER[:11],
        b"\x40" + HEADER[1:],  # version 1
        with_flags(0x02, bytes(7)),  # half a source
        with_flags(0x10, b"\xbe\xde\0"),  # half an extension header
        with_flags(0x10, b"\xbe\xde\0\2" + bytes(7)),  # half an extension
        with_flags(0x20, b""),  # padding of SSRC's last byte, longer than what there is
        with_flags(0x20, b"voice\0"),  # padding that does not count itself
        with_flags(0x20, b"voice\7"),  # padding that reaches into the header
    ],
)
def test_what_is_no_packet_is_none(data: bytes) -> None:
    assert rtp_packet.parse(data) is None


@given(st.binary(max_size=80))
def test_no_bytes_crash_and_what_is_taken_is_what_others_take(data: bytes) -> None:
    packet = rtp_packet.parse(data)
    if packet is not None:
        try:
            reference = Reference.parse(data)
        except (ValueError, UnicodeDecodeError, struct.error):  # it looks into extensions, which are no concern of ours
            return
        assert packet.payload == reference.payload
        assert packet.sequence == reference.sequence_number


@given(st.integers(0, 127), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.booleans())
def test_headers_are_what_others_read(payload_type: int, sequence: int, timestamp: int, marker: bool) -> None:  # noqa: FBT001 - drawn
    packet = Reference.parse(rtp_packet.header(payload_type, sequence, timestamp, 5, marker=marker) + b"x")
    assert (packet.payload_type, packet.sequence_number, packet.timestamp) == (payload_type, sequence, timestamp)
    assert (packet.ssrc, packet.marker, packet.payload) == (5, int(marker), b"x")


def test_rtcp_is_told_apart_by_its_type() -> None:
    assert [rtp_packet.is_rtcp(bytes([0x80, second])) for second in (191, 192, 200, 223, 224)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert not rtp_packet.is_rtcp(b"\x80")


def test_timestamps_are_compared_across_their_wrap() -> None:
    assert [rtp_packet.signed(n) for n in (0, 960, -960, 0xFFFFFFFF, 960 - 0xFFFFFFFF)] == [0, 960, -960, -1, 961]


@pytest.mark.parametrize(
    ("payload", "ms"),
    [
        (b"", 0),
        (b"\x08", 20),
        (b"\x18", 60),
        (b"\x78", 20),
        (b"\x80", 2.5),
        (b"\xf8", 20),
        (b"\x09", 40),
        (b"\x1a", 120),
        (b"\x0b\x03", 60),
        (b"\x1b\x02", 120),
        (b"\x1b\x03", 0),  # 180 ms: longer than a packet may be
        (b"\x0b\x00", 0),
        (b"\x0b", 0),
    ],
)
def test_a_packet_says_how_long_it_is(payload: bytes, ms: float) -> None:
    assert opus_toc.duration(payload) == ms * 48


def test_a_header_alone_says_that_the_talker_is_silent() -> None:
    assert [opus_toc.is_dtx(payload) for payload in (b"\x08", b"\x0b\x01", b"\x08ab")] == [True, True, False]


@pytest.mark.parametrize(
    ("payload", "repeats"),
    [
        (b"\x08\x40..", True),  # 20 ms
        (b"\x08\x80..", False),  # speech in it, and nothing repeated
        (b"\x10\x20..", True),  # 40 ms: two flags of speech come before
        (b"\x10\x40..", False),
        (b"\x18\x10..", True),  # 60 ms
        (b"\x0c\x10..", True),  # stereo, of the side channel
        (b"\x0c\x20..", False),
        (b"\x78\x40..", True),  # hybrid
        (b"\xf8\x40..", False),  # CELT cannot
        (b"\x09\x40..", False),  # two frames
        (b"\x08\x40", False),
    ],
)
def test_a_packet_says_whether_it_repeats_the_one_before(payload: bytes, repeats: bool) -> None:  # noqa: FBT001 - drawn
    assert opus_toc.has_fec(payload) is repeats
