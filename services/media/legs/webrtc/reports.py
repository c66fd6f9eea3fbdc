"""RTCP of one leg: sends reports when they are due, and applies the client's to encoder and metrics."""

import random
from collections.abc import Callable

from services.media import metrics
from services.media.core.rtcp.sending import PeerReport
from services.media.core.rtp.encoding import EncoderChoice, EncoderChooser, Profile
from services.media.core.sdp import CNAME
from services.media.legs.webrtc.outbound import Outbound
from services.media.legs.webrtc.receiver import Receiver
from services.media.legs.webrtc.rtcp import Rtcp
from services.runtime.audio.opus import LOWDELAY, VOIP, EncoderConfig

_ENCODERS: dict[Profile, EncoderConfig] = {"lowdelay": LOWDELAY, "voip": VOIP}
_dice = random.Random()  # noqa: S311 - spreads reports in time, protects nothing


class Reports:
    """The reports of a leg's two streams. ``transmit`` encrypts and sends a packet."""

    def __init__(
        self,
        receiver: Receiver,
        sender: Outbound,
        *,
        choice: EncoderChoice,
        transmit: Callable[[bytes], None],
        now: float,
    ) -> None:
        self._receiver = receiver
        self._sender = sender
        self._chooser = EncoderChooser(choice)
        self._transmit = transmit
        self._exported = 0  # packets sent, in the metric
        self._rtcp = Rtcp(sender.sending, cname=CNAME, now=now, random=_dice.random)
        sender.use_encoder(_ENCODERS[self._chooser.profile], at_once=True)

    def on_timer(self, *, now: float) -> None:
        """Send a report if one is due as of ``now``."""
        if now >= self._rtcp.due:
            self._transmit(self._rtcp.report(self._receiver.reception, now=now))
            self._export()

    def on_packet(self, data: bytes, *, now: float) -> int | None:
        """Handle a decrypted RTCP packet; return the round trip in ms if it can be computed from it."""
        round_trip_ms: int | None = None
        for heard in self._rtcp.parse_packet(data, self._receiver.reception, now=now):
            round_trip_ms = self._on_peer_report(heard, now) or round_trip_ms
        return round_trip_ms

    def close(self, *, now: float) -> None:
        """Send the last report, with a BYE, and export the counts."""
        self._transmit(self._rtcp.bye(now=now))
        self._export()

    def _export(self) -> None:
        self._receiver.export()
        metrics.PACKETS.labels("down").inc(self._sender.sending.packets - self._exported)
        self._exported = self._sender.sending.packets

    def _on_peer_report(self, heard: PeerReport, now: float) -> int | None:
        metrics.LOSS_DOWN.observe(heard.fraction_lost)
        change = self._chooser.peer_reported(heard.fraction_lost, now=now)
        if change is not None:
            metrics.ENCODER_CHANGES.labels(change.profile).inc()
            self._sender.use_encoder(_ENCODERS[change.profile], at_once=change.at_once)
        if heard.round_trip_s is None:
            return None
        metrics.RTT.observe(heard.round_trip_s)
        return round(heard.round_trip_s * 1000)
