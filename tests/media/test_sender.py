"""A leg's stream, turn by turn, with libopus: what was said can be decoded again."""

import pytest

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, DOWN_HZ
from services.media.core import rtp, toc
from services.media.core.effort import FULL, LEAST, Effort, Efforts
from services.media.core.rtp import RtpPacket
from services.media.rtc.sender import Sender
from services.runtime.opus import LOWDELAY, VOIP, EncoderConfig, OpusDecoder
from tests.media.test_playout_pairs import FRAME, filled

TURN = 0.02


class Sending:
    """A sender of an answer of so many frames, and what it sent."""

    def __init__(self, effort: Effort, *, frames: int = 12, encoder: EncoderConfig = LOWDELAY) -> None:
        efforts = Efforts()
        efforts.now = effort
        self._playout = filled([(frames * FRAME, 0)])
        self.rested = 0
        self.sent: list[tuple[int, RtpPacket]] = []  # turn, packet
        self.sender = Sender(111, pull=self._pull, rest=self._rest, failed=self._failed, efforts=efforts)
        self.sender.encode_by(encoder, at_once=True)
        self._turn = 0
        self.sender.start(protect=bytes, send=self._send)

    def turns(self, count: int, *, first: int = 0) -> list[tuple[int, RtpPacket]]:
        for self._turn in range(first, first + count):
            due = 100 + self._turn * TURN
            for stage in self.sender.stages:
                if not stage(due):
                    break
        return self.sent

    def _pull(self, frames: int, _: float) -> bytes | None:
        pulled = self._playout.pull(frames)
        return pulled.pcm if pulled else None

    def _rest(self) -> None:
        self.rested += 1

    def _failed(self) -> None:
        raise AssertionError

    def _send(self, data: bytes) -> None:
        packet = rtp.parse(data)
        assert packet is not None
        self.sent.append((self._turn, packet))


def decoded(sent: list[tuple[int, RtpPacket]]) -> int:
    decoder = OpusDecoder(DOWN_HZ)
    return sum(len(decoder.decode(packet.payload)) for _, packet in sent)


def test_a_packet_of_20_ms_leaves_with_every_turn() -> None:
    sending = Sending(FULL)
    sent = sending.turns(12)
    assert [turn for turn, _ in sent] == list(range(12))
    assert {toc.duration(packet.payload) for _, packet in sent} == {960}
    assert decoded(sent) == 12 * DOWN_FRAME_BYTES


def test_on_a_very_busy_core_a_packet_of_40_ms_leaves_with_every_second_turn() -> None:
    sending = Sending(LEAST)
    sent = sending.turns(12)
    begins = [turn for turn, packet in sent if toc.duration(packet.payload) == 1920]
    assert len(begins) == 5
    assert {turn % 2 for turn in begins} == {begins[0] % 2}
    assert decoded(sent) == 12 * DOWN_FRAME_BYTES
    starts = [packet.timestamp - sent[0][1].timestamp & 0xFFFFFFFF for _, packet in sent]
    assert starts == [(turn - sent[0][0]) * 960 for turn, _ in sent]  # where each would have been alone
    assert [packet.sequence - sent[0][1].sequence & 0xFFFF for _, packet in sent] == list(range(len(sent)))


def test_half_of_the_legs_send_while_the_others_do_not() -> None:
    parities: set[tuple[int, int]] = set()
    while len(parities) < 2:
        sending = Sending(LEAST)
        odd = sending.sender.ssrc % 2
        (first,) = {turn % 2 for turn, packet in sending.turns(9) if toc.duration(packet.payload) == 1920}
        parities.add((odd, first))
    assert parities == {(0, first_of_even := dict(parities)[0]), (1, 1 - first_of_even)}


def test_where_packets_are_lost_each_holds_one_frame() -> None:
    sending = Sending(LEAST, encoder=VOIP)
    assert {toc.duration(packet.payload) for _, packet in sending.turns(12)} == {960}


def test_a_leg_rests_when_its_last_packet_is_over() -> None:
    sending = Sending(LEAST, frames=4)
    sending.turns(4)
    assert not sending.rested
    sending.turns(4, first=4)
    assert sending.rested


@pytest.mark.parametrize("effort", [FULL, LEAST])
def test_a_pause_leaves_a_gap_in_rtp_time_as_long_as_it_was(effort: Effort) -> None:
    sending = Sending(effort, frames=40)
    before = sending.turns(5)[-1]
    count = len(sending.sent)
    turn, packet = sending.turns(2, first=50)[count]
    passed = (turn - before[0]) * DOWN_FRAME_SAMPLES * 2
    assert packet.timestamp - before[1].timestamp & 0xFFFFFFFF == passed
