"""RTCP between a leg's streams and its client: the client's reports select the encoder."""

from collections.abc import Callable

from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket, RtcpSrPacket
from prometheus_client import REGISTRY

from services.contracts.audio import DOWN_FRAME_BYTES
from services.contracts.ids import LegId
from services.media.core.rtp.encoder_complexity import ComplexityControl
from services.media.core.rtp.encoding import EncoderChoice
from services.media.core.rtp.rtp_packet import parse
from services.media.leg import LegInput
from services.media.legs.webrtc.outbound import Outbound
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.receiver import Receiver
from services.media.legs.webrtc.reports import Reports
from services.media.legs.webrtc.wheel import Staged
from services.runtime import clock

PCM = bytes(DOWN_FRAME_BYTES)


class SimulatedLeg:
    """A leg's streams with a simulated client."""

    def __init__(self, choice: EncoderChoice) -> None:
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.now = clock.monotonic()
        self.complexity = ComplexityControl()
        link = OwnerLink(LegId("leg_a"))
        link.attach(self)
        self.sender = Outbound(111, link, self)
        self.sender.start(protect=bytes, send=self.packets.append)
        self.streams = Reports(
            Receiver(111, link, self), self.sender, choice=choice, transmit=self.reports.append, now=self.now
        )

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        raise AssertionError((item, now))

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        assert now > 0 < frames
        return PCM

    def add_receiver(self, receiver: Staged) -> None:
        raise AssertionError(receiver)

    def add_player(self, player: Staged) -> None:
        raise AssertionError(player)

    def remove_player(self, player: Staged) -> None:
        raise AssertionError(player)

    def plays(self) -> int:
        """Send a frame; return the configuration number of its Opus packet (RFC 6716 §3.1): below 12 it is SILK."""
        self.now += 0.02
        assert [stage(self.now) for stage in self.sender.stages] == [True, True, True, False]
        packet = parse(self.packets[-1])
        assert packet is not None
        return packet.payload[0] >> 3

    def hears(self, loss: float) -> None:
        """Handle a report of the client with ``loss``."""
        self.now += 5
        info = RtcpReceiverInfo(self.sender.ssrc, round(256 * loss), 0, 0, 0, 0, 0)
        self.streams.on_packet(bytes(RtcpRrPacket(1, [info])), now=self.now)


def until(true: Callable[[], bool], step: Callable[[], None], limit: int = 20) -> None:
    for _ in range(limit):
        if true():
            return
        step()
    raise AssertionError("it never became true")


def test_a_client_that_loses_packets_gets_an_encoder_with_redundancy_at_once() -> None:
    line = SimulatedLeg("auto")
    assert line.plays() >= 16  # CELT
    line.hears(0.10)
    line.hears(0.10)
    assert line.plays() < 16  # SILK or hybrid: it has in-band FEC
    assert (REGISTRY.get_sample_value("hushgate_encoder_changes_total", {"to": "voip"}) or 0) >= 1


def test_when_the_loss_is_over_the_next_answer_sounds_best_again() -> None:
    line = SimulatedLeg("auto")
    line.hears(0.2)
    line.hears(0.2)
    assert line.plays() < 16
    for _ in range(20):
        line.hears(0.0)
    assert line.plays() >= 16, "five seconds without a frame are a pause"


def test_the_encoder_that_is_asked_for_stays() -> None:
    for choice, celt in (("lowdelay", True), ("voip", False)):
        line = SimulatedLeg(choice)  # type: ignore[arg-type]
        for loss in (0.0, 0.3, 0.3, 0.3):
            line.hears(loss)
            assert (line.plays() >= 16) == celt


def test_reports_go_out_when_they_are_due_and_once_more_at_the_end() -> None:
    line = SimulatedLeg("lowdelay")
    line.streams.on_timer(now=line.now)
    assert line.reports == []
    line.plays()
    line.streams.on_timer(now=line.now + 2)
    assert RtcpSrPacket.parse(line.reports[0][4:28], 0).ssrc == line.sender.ssrc
    line.streams.close(now=line.now + 3)
    assert len(line.reports) == 2
