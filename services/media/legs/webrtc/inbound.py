"""The inbound pipeline of a leg: rate limit, authentication, then the receiver or the reports."""

from collections.abc import Callable

from pylibsrtp import Error as SrtpError

from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core.network import rate_limiter
from services.media.core.network.presence import How, Presence
from services.media.core.network.rate_limiter import RateLimiter, Verdict
from services.media.core.network.ssrcs import KnownSsrcs
from services.media.core.rtp import rtp_packet
from services.media.leg import LegClosed, LegLost, LegMeasured, LegRecovered
from services.media.legs.webrtc.mux import drop
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.private import Dtls
from services.media.legs.webrtc.receiver import Receiver
from services.media.legs.webrtc.reports import Reports
from services.runtime import clock

_CHECK_S = 0.1


class Inbound:
    """One leg's received packets. ``sends_audio``: the offer negotiated audio from the client."""

    def __init__(self, receiver: Receiver, link: OwnerLink, *, sends_audio: bool) -> None:
        self._receiver = receiver
        self._link = link
        self._speaks = sends_audio
        self._dtls: Dtls | None = None
        self._reports: Reports | None = None
        self._presence: Presence | None = None  # these three: None until DTLS is up
        self._unprotect: Callable[[bytes], bytes] = bytes
        self._limiter, self._reports_limiter = RateLimiter(rate_limiter.RTP), RateLimiter(rate_limiter.RTCP)
        self._sources = KnownSsrcs()
        self._source = b""  # the SSRC of the last packet
        self._next_check = 0.0
        self.received_at = clock.monotonic()  # when the last authenticated packet came on the selected path

    def start(self, dtls: Dtls, reports: Reports, presence: Presence) -> None:
        """Process packets from now on: DTLS is up."""
        self._dtls, self._reports, self._presence = dtls, reports, presence
        self._unprotect = dtls.unprotect

    def on_packet(self, data: bytes, *, now: float) -> None:
        """Handle an SRTP or SRTCP packet from an address of the client."""
        link, presence = self._link, self._presence
        if link.flooded:
            drop("after_flood")
            return
        verdict = self._limiter.check(now=now)
        if verdict is not Verdict.ACCEPT:
            drop("rtp_too_many")
            if verdict is Verdict.FLOOD:
                link.fail("rtp_flood", EndReason.FLOOD)
            return
        if presence is None:
            drop("rtp_too_early")
            return
        if rtp_packet.is_rtcp(data):
            self._on_report(data, now)
            return
        try:
            packet = self._unprotect(data)
        except SrtpError:
            drop("srtp_unverified")
            return
        if packet[8:12] != self._source:
            self._on_source(packet[8:12])
        if presence.lost:
            self.on_authenticated(now=now)
        else:
            self.received_at = presence.received_at = now  # as `on_authenticated`, without a call for each packet
        if self._speaks:
            self._receiver.queue_packet(packet)
        else:
            drop("rtp_not_negotiated")

    def on_authenticated(self, *, now: float) -> None:
        """Record that something authenticated came from the client on the selected path, as of ``now``."""
        self.received_at = now
        if self._presence is not None and (back := self._presence.packet_received(now=now)) is not None:
            self._link.hand_up(LegRecovered(back.how, back.away_s), now)

    def on_path_changed(self, how: How) -> None:
        """Record that the selected path has changed, and ``how``."""
        metrics.PATH_CHANGES.labels(how).inc()
        if self._presence is not None:
            self._presence.path_changed(how)

    # --- from the wheel, every 20 ms ---

    def on_timer(self, *, now: float) -> None:
        """Run the receiver's timer, send reports that are due, and report a client that is lost or gone."""
        receiver = self._receiver
        due = receiver.due
        if due is not None and now >= due:
            receiver.on_timer(now=now)
            receiver.hand_up(now)
        if now < self._next_check or self._presence is None or self._reports is None:
            return
        self._next_check = now + _CHECK_S
        self._reports.on_timer(now=now)
        match self._presence.on_timer(now=now):
            case "lost":
                self._link.hand_up(LegLost(), now)
            case "gone":
                self._link.hand_up(LegClosed(EndReason.CLIENT_GONE), now)

    def failed(self) -> None:
        """Close the leg: `on_timer` raised an unexpected error. Called in the except block."""
        self._link.fail("tick", EndReason.INTERNAL)

    # --- inside ---

    def _on_report(self, data: bytes, now: float) -> None:
        if self._dtls is None or self._reports is None:
            return
        if self._reports_limiter.check(now=now) is not Verdict.ACCEPT:
            drop("rtcp_too_many")
            return
        began = clock.cpu_s()
        try:
            packets = self._dtls.unprotect_rtcp(data)
        except SrtpError:
            drop("srtcp_unverified")
            return
        self._on_source(packets[4:8])
        self.on_authenticated(now=now)
        round_trip_ms = self._reports.on_packet(packets, now=now)
        if round_trip_ms is not None:
            self._link.hand_up(LegMeasured(round_trip_ms), now)
        self._link.charge_cpu(began, now=now)

    def _on_source(self, ssrc: bytes) -> None:
        """Record the SSRC of an authenticated packet; frees libsrtp's state of the oldest ones."""
        self._source = ssrc
        if (old := self._sources.packet_verified(ssrc)) is not None and self._dtls is not None:
            self._dtls.forget_stream(int.from_bytes(old))
