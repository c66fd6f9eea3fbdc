import struct

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from services.media.core.rtcp.reception import Reception
from services.media.core.rtcp.rtcp_packet import MAX_PACKETS, reports
from services.media.core.rtcp.sending import PeerReport, Sending
from services.media.core.rtp import rtp_packet
from services.media.legs.webrtc.rtcp import Rtcp

OURS, THEIRS = 1, 2


def rtcp(sending: Sending | None = None) -> Rtcp:
    return Rtcp(sending or Sending(OURS), cname="hushgate", now=0.0, random=lambda: 0.5)


def dropped() -> float:
    return REGISTRY.get_sample_value("hushgate_rtcp_dropped_total", {"reason": "malformed"}) or 0.0


def spoken() -> Sending:
    sending = Sending(OURS)
    sending.packet_sent(80, 0, now=0.0)
    return sending


def listening() -> Reception:
    reception = Reception(THEIRS)
    reception.packet_received(0, 0, now=0.0)
    return reception


def test_there_are_only_reports_which_every_profile_allows() -> None:
    """No NACK, PLI or other early feedback (RFC 4585), which RTP/SAVP does not know."""
    for sending, reception in ((Sending(OURS), listening()), (spoken(), listening()), (spoken(), None)):
        reports = rtcp(sending)
        for data in (reports.report(reception, now=1.0), reports.bye(now=2.0)):
            kinds = {type(packet) for packet in RtcpPacket.parse(data)}
            assert kinds <= {RtcpSrPacket, RtcpRrPacket, RtcpSdesPacket, RtcpByePacket}


def test_who_only_listens_sends_a_receiver_report_with_its_name() -> None:
    data = rtcp().report(listening(), now=1.0)
    report, description = RtcpPacket.parse(data)
    assert isinstance(report, RtcpRrPacket)
    assert [block.ssrc for block in report.reports] == [THEIRS]
    assert isinstance(description, RtcpSdesPacket)
    assert [(chunk.ssrc, chunk.items) for chunk in description.chunks] == [(OURS, [(1, b"hushgate")])]
    assert rtp_packet.is_rtcp(data)


def test_who_speaks_sends_a_sender_report_with_the_wall_clock() -> None:
    report = RtcpPacket.parse(rtcp(spoken()).report(listening(), now=1.0))[0]
    assert isinstance(report, RtcpSrPacket)
    assert (report.sender_info.packet_count, report.sender_info.octet_count) == (1, 80)
    assert report.sender_info.rtp_timestamp == 48_000
    assert report.sender_info.ntp_timestamp >> 32 > 3_900_000_000  # 2023
    assert len(report.reports) == 1


def test_a_stream_that_is_not_heard_any_more_is_not_reported_on() -> None:
    ours, reception = rtcp(), listening()
    ours.report(reception, now=1.0)
    report = RtcpPacket.parse(ours.report(reception, now=6.0))[0]
    assert isinstance(report, RtcpRrPacket)
    assert report.reports == []


def test_reports_are_rarer_while_there_is_nothing_to_say() -> None:
    ours, reception = rtcp(), listening()
    assert ours.due == 1.0
    ours.report(reception, now=1.0)
    assert ours.due == 6.0
    ours.report(reception, now=6.0)
    assert ours.due == 21.0
    ours.report(None, now=21.0)
    assert ours.due == 26.0  # another stream may begin


def test_two_gateways_measure_the_round_trip_between_them() -> None:
    here, there = rtcp(spoken()), Rtcp(Sending(THEIRS), cname="there", now=0.0, random=lambda: 0.5)
    reception = Reception(OURS)
    for number in (0, 1, 3):
        reception.packet_received(number, number * 960, now=number * 0.02)
    there.parse_packet(here.report(None, now=1.0), reception, now=1.05)
    (peer,) = here.parse_packet(there.report(reception, now=2.0), None, now=2.05)
    assert isinstance(peer, PeerReport)
    assert peer.fraction_lost == 0.25
    assert peer.round_trip_s == pytest.approx(0.1, abs=1e-3)


def test_the_last_report_says_goodbye() -> None:
    data = rtcp(spoken()).bye(now=1.0)
    assert isinstance(RtcpPacket.parse(data)[-1], RtcpByePacket)
    assert rtcp(Sending(THEIRS)).parse_packet(data, Reception(OURS), now=1.0) == []


def test_a_report_of_somebody_else_does_not_count_as_the_stream_that_is_heard() -> None:
    reception = listening()
    rtcp().parse_packet(bytes(RtcpSrPacket(99, RtcpSenderInfo(5 << 32, 0, 1, 1))), reception, now=1.0)
    assert reception.report(now=2.0).last_report == 0


def test_reports_on_other_streams_and_other_kinds_say_nothing() -> None:
    block = RtcpReceiverInfo(ssrc=99, fraction_lost=0, packets_lost=0, highest_sequence=0, jitter=0, lsr=0, dlsr=0)
    assert rtcp().parse_packet(bytes(RtcpRrPacket(THEIRS, [block])), None, now=1.0) == []
    assert rtcp().parse_packet(bytes(RtcpPsfbPacket(1, THEIRS, OURS)), None, now=1.0) == []


def malformed() -> float:
    return REGISTRY.get_sample_value("hushgate_rtcp_dropped_total", {"reason": "malformed"}) or 0.0


@pytest.mark.parametrize("data", [b"\x80", b"\x80\xc8\0\7", b"\x40\xc8\0\0", b"\x81\xc9\0\1\0\0\0\2"])
def test_what_is_malformed_says_nothing_and_is_counted(data: bytes) -> None:
    before = malformed()
    assert rtcp().parse_packet(data, None, now=1.0) == []
    assert malformed() == before + 1


@given(st.integers(0, 0x3F), st.integers(192, 223), st.binary(max_size=60))
def test_no_packet_breaks_it(flags: int, kind: int, body: bytes) -> None:
    words = struct.pack("!H", len(body) // 4)
    data = bytes((0x80 | flags, kind)) + words + body[: len(body) // 4 * 4]
    assert all(isinstance(heard, PeerReport) for heard in rtcp().parse_packet(data, listening(), now=1.0))


def test_of_a_compound_only_reports_are_read() -> None:
    report, bye = bytes(RtcpRrPacket(THEIRS)), bytes(RtcpByePacket([THEIRS]))
    nack = b"\x81\xcd" + (352).to_bytes(2) + bytes(8) + b"\xff" * 1400
    description = bytes(RtcpSdesPacket([]))
    assert reports(report + nack + description + bye) == report


@pytest.mark.parametrize(
    "compound",
    [
        b"\x80\xc9\x00",
        b"\x80\xc9\x00\x01",
        b"\x40\xc9\x00\x00",
        bytes(RtcpRrPacket(THEIRS)) * (MAX_PACKETS + 1),
        b"\x80\xcb\x00\x00" * 300,
    ],
)
def test_a_compound_of_hundreds_or_of_no_packets_is_malformed(compound: bytes) -> None:
    with pytest.raises(ValueError, match="packet"):
        reports(compound)
    before = dropped()
    assert rtcp().parse_packet(compound, None, now=0.0) == []
    assert dropped() == before + 1
