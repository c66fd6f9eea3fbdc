"""Statistics of a stream that we send: our counts, and the peer's reception reports of it (RFC 3550 §6.4)."""

from collections import deque
from dataclasses import dataclass

from services.media.core.rtcp.reception import ReceptionReport
from services.media.core.rtp.rtp_packet import CLOCK_HZ, TIMESTAMP_MASK

_NTP_FRACTION = 65536
_REMEMBERED = 16  # reports a peer may still refer to: more than a minute of them
_TOLERANCE_S = 0.001  # a round trip on one machine is less than the delay's own grain
MAX_ROUND_TRIP_S = 10.0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The sender information of a sender report."""

    ntp: int  # 64 bits: seconds since 1900 and their fraction
    timestamp: int  # the same moment on the clock of RTP
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class PeerReport:
    """The peer's report on our stream. ``fraction_lost``: 0 to 1, since its last. ``round_trip_s``: None if unknown."""

    fraction_lost: float
    jitter_s: float
    round_trip_s: float | None


class Sending:
    """The counts of one stream that we send."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.packets = 0
        self.octets = 0
        self._timestamp = 0
        self._sent_at = 0.0
        self._reports: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    def packet_sent(self, octets: int, timestamp: int, *, now: float) -> None:
        """Count a sent packet with ``octets`` of payload and the RTP ``timestamp``."""
        self.packets += 1
        self.octets += octets
        self._timestamp = timestamp
        self._sent_at = now

    def report(self, ntp: int, *, now: float) -> SenderReport | None:
        """Return the sender report as of ``now``, with its 64-bit time ``ntp``; None before the first packet."""
        if not self.packets:
            return None
        self._reports.append((ntp >> 16 & 0xFFFFFFFF, now))
        timestamp = self._timestamp + round((now - self._sent_at) * CLOCK_HZ)
        return SenderReport(ntp, timestamp & TIMESTAMP_MASK, self.packets & 0xFFFFFFFF, self.octets & 0xFFFFFFFF)

    def peer_reported(self, report: ReceptionReport, *, now: float) -> PeerReport | None:
        """Evaluate a report block of the peer; None if it is about a stream that is not ours."""
        if report.ssrc != self.ssrc:
            return None
        return PeerReport(report.fraction_lost / 256, report.jitter / CLOCK_HZ, self._round_trip(report, now))

    def _round_trip(self, report: ReceptionReport, now: float) -> float | None:
        """Compute the round trip by the time at which we sent the report; unknown reports are ignored."""
        for ntp, sent_at in self._reports:
            if ntp == report.last_report:
                round_trip_s = now - sent_at - report.report_delay / _NTP_FRACTION
                if -_TOLERANCE_S <= round_trip_s <= MAX_ROUND_TRIP_S:
                    return max(0.0, round_trip_s)
        return None
