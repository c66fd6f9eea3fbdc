"""RTCP of one leg as it goes over the wire: reports when they are due, and what follows from the client's."""

import random
from collections.abc import Callable

from services.media import metrics
from services.media.core.encoding import EncoderChoice, EncoderChooser, Profile
from services.media.core.sdp import CNAME
from services.media.core.sending import PeerHeard
from services.media.rtc.receiver import Receiver
from services.media.rtc.rtcp import Rtcp
from services.media.rtc.sender import Sender
from services.runtime.opus import LOWDELAY, VOIP, EncoderConfig

_ENCODERS: dict[Profile, EncoderConfig] = {"lowdelay": LOWDELAY, "voip": VOIP}
_dice = random.Random()  # noqa: S311 - spreads reports in time, protects nothing


class Reports:
    """Between a leg's two streams and its client. ``transmit`` encrypts and sends a packet."""

    def __init__(
        self,
        receiver: Receiver,
        sender: Sender,
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
        sender.encode_by(_ENCODERS[self._chooser.profile], at_once=True)

    def tick(self, *, now: float) -> None:
        """Time passes: report when it is due."""
        if now >= self._rtcp.due:
            self._transmit(self._rtcp.report(self._receiver.reception, now=now))
            self._export()

    def take(self, data: bytes, *, now: float) -> int | None:
        """The client reports; returns the round trip in ms if it can be told from that."""
        round_trip_ms: int | None = None
        for heard in self._rtcp.take(data, self._receiver.reception, now=now):
            if isinstance(heard, PeerHeard):
                round_trip_ms = self._peer_heard(heard, now) or round_trip_ms
        return round_trip_ms

    def close(self, *, now: float) -> None:
        """The streams are over."""
        self._transmit(self._rtcp.goodbye(now=now))
        self._export()

    def _export(self) -> None:
        self._receiver.export()
        metrics.PACKETS.labels("down").inc(self._sender.sending.packets - self._exported)
        self._exported = self._sender.sending.packets

    def _peer_heard(self, heard: PeerHeard, now: float) -> int | None:
        metrics.LOSS_DOWN.observe(heard.fraction_lost)
        change = self._chooser.peer_reported(heard.fraction_lost, now=now)
        if change is not None:
            metrics.ENCODER_CHANGES.labels(change.profile).inc()
            self._sender.encode_by(_ENCODERS[change.profile], at_once=change.at_once)
        if heard.round_trip_s is None:
            return None
        metrics.RTT.observe(heard.round_trip_s)
        return round(heard.round_trip_s * 1000)
