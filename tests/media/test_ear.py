from services.contracts.audio import PcmFrame
from services.media.rtc.ear import Ear
from services.media.rtc.receiver import Receiver
from tests.media.test_receiver import OPUS, packets


class House:
    """An ear with all that is around it."""

    def __init__(self) -> None:
        self.waiting: list[Ear] = []
        self.heard: list[tuple[int, float]] = []
        self.failures = 0
        self.ear = Ear(Receiver(OPUS), listens=self.waiting.append, give=self._give, failed=self._failed)

    def _give(self, frames: list[PcmFrame], now: float) -> None:
        self.heard += [(frame.index, now) for frame in frames]

    def _failed(self) -> None:
        self.failures += 1

    def slot(self, now: float) -> int:
        """What the wheel does; returns how many stages had something to do."""
        waiting, self.waiting[:] = self.waiting.copy(), []
        assert waiting == [self.ear]
        return next(number for number, stage in enumerate(self.ear.stages) if not stage(now))


def test_a_packet_is_heard_in_its_slot() -> None:
    house = House()
    for n, packet in enumerate(packets()[:3]):
        house.ear.take(packet)
        assert house.slot(n * 0.02) == 2
    assert house.heard == [(0, 0.0), (1, 0.02), (2, 0.04)]


def test_packets_of_one_slot_are_heard_in_order() -> None:
    house, sent = House(), packets()
    for packet in (sent[0], sent[2], sent[1]):
        house.ear.take(packet)
    assert house.slot(1.0) == 2
    assert [index for index, _ in house.heard] == [0, 1, 2]


def test_a_packet_that_has_to_wait_ends_the_slot() -> None:
    house, sent = House(), packets()
    house.ear.take(sent[0])
    house.slot(0.0)
    house.ear.take(sent[2])
    assert house.slot(0.02) == 0
    assert len(house.heard) == 1


def test_what_cannot_be_decoded_is_silence_of_its_length() -> None:
    house, sent = House(), packets()
    house.ear.take(sent[0][:13])
    assert house.slot(0.0) == 2


def test_an_ear_that_broke_goes_on_with_the_next_packet() -> None:
    house, sent = House(), packets()
    house.ear.take(sent[0])
    house.waiting.clear()
    house.ear.broke()
    assert house.failures == 1
    house.ear.take(sent[1])
    assert house.slot(0.02) == 2
