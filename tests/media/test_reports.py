"""RTCP between a leg's streams and its client: what a client reports changes how it is sent to."""

from collections.abc import Callable

from aiortc.rtp import RtcpReceiverInfo, RtcpRrPacket, RtcpSrPacket
from prometheus_client import REGISTRY

from services.contracts.audio import DOWN_FRAME_BYTES
from services.media.core.effort import Efforts
from services.media.core.encoding import EncoderChoice
from services.media.core.rtp import parse
from services.media.rtc.receiver import Receiver
from services.media.rtc.reports import Reports
from services.media.rtc.sender import Sender
from services.runtime import clock

PCM = bytes(DOWN_FRAME_BYTES)


class Line:
    """A leg's streams with a client at the other end, which the test plays."""

    def __init__(self, choice: EncoderChoice) -> None:
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.now = clock.monotonic()
        self.sender = Sender(
            111, pull=lambda _frames, _now: PCM, rest=lambda: None, failed=lambda: None, efforts=Efforts()
        )
        self.sender.start(protect=bytes, send=self.packets.append)
        self.streams = Reports(Receiver(111), self.sender, choice=choice, transmit=self.reports.append, now=self.now)

    def plays(self) -> int:
        """Send a frame; gives the configuration number of its Opus packet (RFC 6716 §3.1): below 12 it is SILK."""
        self.now += 0.02
        assert [stage(self.now) for stage in self.sender.stages] == [True, True, True, False]
        packet = parse(self.packets[-1])
        assert packet is not None
        return packet.payload[0] >> 3

    def hears(self, loss: float) -> None:
        """The client reports so much loss."""
        self.now += 5
        info = RtcpReceiverInfo(self.sender.ssrc, round(256 * loss), 0, 0, 0, 0, 0)
        self.streams.take(bytes(RtcpRrPacket(1, [info])), now=self.now)


def until(true: Callable[[], bool], step: Callable[[], None], limit: int = 20) -> None:
    for _ in range(limit):
        if true():
            return
        step()
    raise AssertionError("it never became true")


def test_a_client_that_loses_packets_gets_an_encoder_with_redundancy_at_once() -> None:
    line = Line("auto")
    assert line.plays() >= 16  # CELT
    line.hears(0.10)
    line.hears(0.10)
    assert line.plays() < 16  # SILK or hybrid: it has in-band FEC
    assert (REGISTRY.get_sample_value("hushgate_encoder_changes_total", {"to": "voip"}) or 0) >= 1


def test_when_the_loss_is_over_the_next_answer_sounds_best_again() -> None:
    line = Line("auto")
    line.hears(0.2)
    line.hears(0.2)
    assert line.plays() < 16
    for _ in range(20):
        line.hears(0.0)
    assert line.plays() >= 16, "five seconds without a frame are a pause"


def test_the_encoder_that_is_asked_for_stays() -> None:
    for choice, celt in (("lowdelay", True), ("voip", False)):
        line = Line(choice)  # type: ignore[arg-type]
        for loss in (0.0, 0.3, 0.3, 0.3):
            line.hears(loss)
            assert (line.plays() >= 16) == celt


def test_reports_go_out_when_they_are_due_and_once_more_at_the_end() -> None:
    line = Line("lowdelay")
    line.streams.tick(now=line.now)
    assert line.reports == []
    line.plays()
    line.streams.tick(now=line.now + 2)
    assert RtcpSrPacket.parse(line.reports[0][4:28], 0).ssrc == line.sender.ssrc
    line.streams.close(now=line.now + 3)
    assert len(line.reports) == 2
