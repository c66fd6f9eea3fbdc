"""RTCP of one leg: builds our compound packets and reads the peer's reports."""

import struct
from collections.abc import Callable

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from services.media import metrics
from services.media.core.rtcp.reception import Reception, ReceptionReport
from services.media.core.rtcp.reporting import ReportClock
from services.media.core.rtcp.rtcp_packet import reports
from services.media.core.rtcp.sending import PeerReport, Sending
from services.runtime import clock

_CNAME = 1
_NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970


class Rtcp:
    """One leg's reports, as RTCP before encryption."""

    def __init__(self, sending: Sending, *, cname: str, now: float, random: Callable[[], float]) -> None:
        self._sending = sending
        self._description = RtcpSdesPacket([RtcpSourceInfo(sending.ssrc, [(_CNAME, cname.encode())])])
        self._clock = ReportClock(now=now, random=random)
        self._counted = (0, 0)  # packets sent and received up to the last report

    @property
    def due(self) -> float:
        """When `report` is due, in monotonic seconds."""
        return self._clock.due

    def report(self, reception: Reception | None, *, now: float) -> bytes:
        """Return the next report. ``reception``: of the peer's stream; a block only if packets came since the last.

        Once a packet was sent it is always a sender report, also in pauses: the round trip is measured by those.
        """
        counted = (self._sending.packets, reception.received if reception is not None else 0)
        blocks = []
        if reception is not None and counted[1] != self._counted[1]:
            blocks.append(_block(reception.report(now=now)))
        self._clock.reported(busy=counted != self._counted, now=now)
        self._counted = counted
        return bytes(self._report(blocks, now)) + bytes(self._description)

    def bye(self, *, now: float) -> bytes:
        """Return the last report, with a BYE for our stream."""
        return bytes(self._report([], now)) + bytes(self._description) + bytes(RtcpByePacket([self._sending.ssrc]))

    def parse_packet(self, data: bytes, reception: Reception | None, *, now: float) -> list[PeerReport]:
        """Read a compound packet of the peer; return its reports on our stream. A malformed one is counted."""
        try:
            packets = RtcpPacket.parse(reports(data))
        except (ValueError, IndexError, struct.error):
            metrics.RTCP_DROPPED.labels("malformed").inc()
            return []
        heard: list[PeerReport] = []
        for packet in packets:
            heard += self._parse_report(packet, reception, now)
        return heard

    def _parse_report(self, packet: AnyRtcpPacket, reception: Reception | None, now: float) -> list[PeerReport]:
        if not isinstance(packet, (RtcpSrPacket, RtcpRrPacket)):
            return []
        if isinstance(packet, RtcpSrPacket) and reception is not None and packet.ssrc == reception.ssrc:
            reception.sender_reported(packet.sender_info.ntp_timestamp, now=now)
        reports = (self._sending.peer_reported(_parse_block(block), now=now) for block in packet.reports)
        return [report for report in reports if report is not None]

    def _report(self, blocks: list[RtcpReceiverInfo], now: float) -> RtcpSrPacket | RtcpRrPacket:
        sent = self._sending.report(_ntp(clock.unix_ms()), now=now)
        if sent is None:
            return RtcpRrPacket(self._sending.ssrc, blocks)
        info = RtcpSenderInfo(sent.ntp, sent.timestamp, sent.packets, sent.octets)
        return RtcpSrPacket(self._sending.ssrc, info, blocks)


def _ntp(unix_ms: int) -> int:
    seconds, ms = divmod(unix_ms, 1000)
    return (seconds + _NTP_EPOCH_S) << 32 | (ms << 32) // 1000


def _block(report: ReceptionReport) -> RtcpReceiverInfo:
    return RtcpReceiverInfo(
        ssrc=report.ssrc,
        fraction_lost=report.fraction_lost,
        packets_lost=report.packets_lost,
        highest_sequence=report.highest_sequence,
        jitter=report.jitter,
        lsr=report.last_report,
        dlsr=report.report_delay,
    )


def _parse_block(block: RtcpReceiverInfo) -> ReceptionReport:
    return ReceptionReport(
        ssrc=block.ssrc,
        fraction_lost=block.fraction_lost,
        packets_lost=block.packets_lost,
        highest_sequence=block.highest_sequence,
        jitter=block.jitter,
        last_report=block.lsr,
        report_delay=block.dlsr,
    )
