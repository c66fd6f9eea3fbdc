from dataclasses import replace

import numpy as np
import pytest

from services.callers.speech import Samples
from tests.bench.network.playout import Played, play
from tests.network.browser import FRAME_S, FRAME_SAMPLES, ReceivedRtp

LOUD = 100


class Letters:
    """A decoder whose sound is a number a frame, 0 when concealed, that of the next packet below 0 when recovered."""

    def __init__(self, *, fec: bool = True) -> None:
        self.fec = fec

    def decode(self, packet: bytes) -> Samples:
        return np.array([LOUD * packet[0]], np.int16)

    def has_fec(self, packet: bytes) -> bool:
        return self.fec and bool(packet)

    def recover(self, following: bytes) -> Samples:
        return np.array([-LOUD * following[0]], np.int16)

    def conceal(self) -> Samples:
        return np.zeros(1, np.int16)


def packet(number: int, *, late_ms: float = 0.0, start: int = 0) -> ReceivedRtp:
    timestamp = (start + number * FRAME_SAMPLES) % (1 << 32)
    return ReceivedRtp(10 + number * FRAME_S + late_ms / 1000, number, timestamp, bytes([number + 1]))


def played(*packets: ReceivedRtp) -> Played:
    return play(sorted(packets, key=lambda one: one.at_s), Letters())


def heard(*packets: ReceivedRtp) -> list[int]:
    return letters(played(*packets))


def letters(result: Played) -> list[int]:
    return [int(sample) // LOUD for sample in result.samples]


def test_what_comes_in_time_is_played_as_it_is() -> None:
    result = played(*(packet(number) for number in range(5)))
    assert letters(result) == [1, 2, 3, 4, 5]
    assert (result.concealed, result.recovered, result.late) == (0, 0, 0)
    assert result.delay_ms == pytest.approx(60)


def test_a_lost_frame_is_recovered_from_the_next_packet() -> None:
    assert heard(packet(0), packet(2), packet(3)) == [1, -3, 3, 4]


def test_without_fec_a_lost_frame_is_concealed() -> None:
    result = play([packet(0), packet(2)], Letters(fec=False))
    assert letters(result) == [1, 0, 3]
    assert (result.concealed, result.recovered) == (1, 0)


def test_of_two_lost_frames_the_first_is_concealed() -> None:
    assert heard(packet(0), packet(3)) == [1, 0, -4, 4]


def test_packets_in_the_wrong_order_are_played_in_the_right_one() -> None:
    assert heard(packet(0), packet(1, late_ms=30), packet(2), packet(3)) == [1, 2, 3, 4]


def test_a_packet_after_its_turn_is_thrown_away() -> None:
    result = played(packet(0), packet(1, late_ms=90), packet(2), packet(3))
    assert letters(result) == [1, -3, 3, 4]
    assert result.late == 1


def test_a_jittery_line_gets_more_delay_for_one_concealed_frame() -> None:
    result = played(*(packet(number, late_ms=75 if number >= 10 else 0) for number in range(40)))
    sound = letters(result)
    assert sound[:10] == list(range(1, 11))
    assert sound[-25:] == list(range(16, 41))
    assert result.delay_ms == pytest.approx(80)


def test_a_delay_between_two_frames_is_rounded_up_lest_packets_come_too_late_for_ever() -> None:
    result = played(
        packet(0, late_ms=12), *(packet(number, late_ms=95 if number >= 10 else 0) for number in range(1, 60))
    )
    assert letters(result)[-40:] == list(range(21, 61))
    assert result.delay_ms == pytest.approx(112)


def test_delay_does_not_grow_beyond_a_tenth_of_a_second_and_a_frame() -> None:
    result = played(*(packet(number, late_ms=300 if number % 2 else 0) for number in range(100)))
    assert result.delay_ms < 120
    assert result.late == 50


def test_a_delay_that_nobody_needs_goes_with_the_next_silence() -> None:
    late = packet(0, late_ms=80)
    quiet = [replace(packet(number), payload=b"\0") for number in range(10, 20)]
    loud = [packet(number) for number in range(20, 40)]
    result = play([late, *(packet(number) for number in range(5, 10)), *quiet, *loud], Letters())
    assert result.delay_ms == pytest.approx(60, abs=20)
    assert letters(result)[-20:] == list(range(21, 41))


def test_rtp_time_may_wrap() -> None:
    assert heard(*(packet(number, start=(1 << 32) - FRAME_SAMPLES) for number in range(4))) == [1, 2, 3, 4]


def test_nothing_received_is_nothing_played() -> None:
    assert played().frames == 0
