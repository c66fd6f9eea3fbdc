from prometheus_client import REGISTRY

from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.contracts.ids import LegId
from services.media.leg import LegClosed, LegInput
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.receiver import Receiver
from services.media.legs.webrtc.wheel import Staged
from tests.media.test_receiver import OPUS, packets


class ReceiverHarness:
    """A receiver with a simulated wheel and leg owner."""

    def __init__(self) -> None:
        self.waiting: list[Staged] = []
        self.heard: list[tuple[int, float]] = []
        self.closed: LegClosed | None = None
        self.link = OwnerLink(LegId("leg_a"))
        self.link.attach(self)
        self.receiver = Receiver(OPUS, self.link, self)

    def add_receiver(self, receiver: Staged) -> None:
        self.waiting.append(receiver)

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        if isinstance(item, PcmFrame):
            self.heard.append((item.index, now))
        else:
            assert isinstance(item, LegClosed)
            self.closed = item

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        raise NotImplementedError((frames, now))

    def slot(self, now: float) -> int:
        """Run the stages as the wheel does; return how many had something to do."""
        waiting, self.waiting[:] = self.waiting.copy(), []
        assert waiting == [self.receiver]
        return next(number for number, stage in enumerate(self.receiver.stages) if not stage(now))


def test_a_packet_is_heard_in_its_slot() -> None:
    harness = ReceiverHarness()
    for n, packet in enumerate(packets()[:3]):
        harness.receiver.queue_packet(packet)
        assert harness.slot(n * 0.02) == 2
    assert harness.heard == [(0, 0.0), (1, 0.02), (2, 0.04)]


def test_packets_of_one_slot_are_heard_in_order() -> None:
    harness, sent = ReceiverHarness(), packets()
    for packet in (sent[0], sent[2], sent[1]):
        harness.receiver.queue_packet(packet)
    assert harness.slot(1.0) == 2
    assert [index for index, _ in harness.heard] == [0, 1, 2]


def test_a_packet_that_has_to_wait_ends_the_slot() -> None:
    harness, sent = ReceiverHarness(), packets()
    harness.receiver.queue_packet(sent[0])
    harness.slot(0.0)
    harness.receiver.queue_packet(sent[2])
    assert harness.slot(0.02) == 0
    assert len(harness.heard) == 1


def test_what_cannot_be_decoded_is_silence_of_its_length() -> None:
    harness, sent = ReceiverHarness(), packets()
    harness.receiver.queue_packet(sent[0][:13])
    assert harness.slot(0.0) == 2


def test_frames_that_come_before_the_call_attaches_follow_at_once() -> None:
    harness, sent = ReceiverHarness(), packets()
    link = OwnerLink(LegId("leg_b"))
    receiver = Receiver(OPUS, link, harness)
    receiver.queue_packet(sent[0])
    assert [stage(1.0) for stage in receiver.stages] == [True, True, False]
    link.attach(harness)
    assert [index for index, _ in harness.heard] == [0]


def test_a_receiver_that_broke_closes_its_leg_and_nothing_follows() -> None:
    harness, sent = ReceiverHarness(), packets()
    before = REGISTRY.get_sample_value("hushgate_leg_errors_total", {"stage": "receive"}) or 0
    harness.receiver.queue_packet(sent[0])
    harness.waiting.clear()
    harness.receiver.failed()
    assert harness.closed == LegClosed(EndReason.INTERNAL)
    assert REGISTRY.get_sample_value("hushgate_leg_errors_total", {"stage": "receive"}) == before + 1
    harness.receiver.queue_packet(sent[1])
    assert harness.slot(0.02) == 2
    assert harness.heard == []
    harness.link.fail("receive", EndReason.INTERNAL)
    assert REGISTRY.get_sample_value("hushgate_leg_errors_total", {"stage": "receive"}) == before + 1
