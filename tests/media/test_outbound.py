"""A leg's sent stream, slot by slot, with libopus: the audio can be decoded."""

import pytest

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, DOWN_HZ
from services.contracts.ids import LegId
from services.media.core.rtp import opus_toc, rtp_packet
from services.media.core.rtp.encoder_complexity import FULL, LEAST, ComplexityControl, EncoderComplexity
from services.media.core.rtp.rtp_packet import RtpPacket
from services.media.leg import LegInput
from services.media.legs.webrtc.outbound import Outbound
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.wheel import Staged
from services.runtime.audio.opus import LOWDELAY, VOIP, EncoderConfig, OpusDecoder
from tests.media.test_playout_pairs import FRAME, filled

TURN = 0.02


class AnswerSender:
    """A sender of an answer of ``frames`` frames, and the packets that it sent."""

    def __init__(self, effort: EncoderComplexity, *, frames: int = 12, encoder: EncoderConfig = LOWDELAY) -> None:
        self.complexity = ComplexityControl()
        self.complexity.now = effort
        self._playout = filled([(frames * FRAME, 0)])
        self.rested = 0
        self.playing = False
        self.sent: list[tuple[int, RtpPacket]] = []  # turn, packet
        link = OwnerLink(LegId("leg_a"))
        link.attach(self)
        self.sender = Outbound(111, link, self)
        self.sender.use_encoder(encoder, at_once=True)
        self._turn = 0
        self.sender.start(protect=bytes, send=self._send)

    def turns(self, count: int, *, first: int = 0) -> list[tuple[int, RtpPacket]]:
        for self._turn in range(first, first + count):
            due = 100 + self._turn * TURN
            for stage in self.sender.stages:
                if not stage(due):
                    break
        return self.sent

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        raise AssertionError((item, now))

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        assert now > 0
        pulled = self._playout.pull(frames)
        return pulled.pcm if pulled else None

    def add_player(self, player: Staged) -> None:
        self.playing = player is self.sender

    def remove_player(self, player: Staged) -> None:
        assert player is self.sender
        self.rested += 1

    def _send(self, data: bytes) -> None:
        packet = rtp_packet.parse(data)
        assert packet is not None
        self.sent.append((self._turn, packet))


def decoded(sent: list[tuple[int, RtpPacket]]) -> int:
    decoder = OpusDecoder(DOWN_HZ)
    return sum(len(decoder.decode(packet.payload)) for _, packet in sent)


def test_a_packet_of_20_ms_leaves_with_every_turn() -> None:
    sending = AnswerSender(FULL)
    sent = sending.turns(12)
    assert [turn for turn, _ in sent] == list(range(12))
    assert {opus_toc.duration(packet.payload) for _, packet in sent} == {960}
    assert decoded(sent) == 12 * DOWN_FRAME_BYTES


def test_on_a_very_busy_core_a_packet_of_40_ms_leaves_with_every_second_turn() -> None:
    sending = AnswerSender(LEAST)
    sent = sending.turns(12)
    begins = [turn for turn, packet in sent if opus_toc.duration(packet.payload) == 1920]
    assert len(begins) == 5
    assert {turn % 2 for turn in begins} == {begins[0] % 2}
    assert decoded(sent) == 12 * DOWN_FRAME_BYTES
    starts = [packet.timestamp - sent[0][1].timestamp & 0xFFFFFFFF for _, packet in sent]
    assert starts == [(turn - sent[0][0]) * 960 for turn, _ in sent]  # where each would have been alone
    assert [packet.sequence - sent[0][1].sequence & 0xFFFF for _, packet in sent] == list(range(len(sent)))


def test_half_of_the_legs_send_while_the_others_do_not() -> None:
    parities: set[tuple[int, int]] = set()
    while len(parities) < 2:
        sending = AnswerSender(LEAST)
        odd = sending.sender.ssrc % 2
        (first,) = {turn % 2 for turn, packet in sending.turns(9) if opus_toc.duration(packet.payload) == 1920}
        parities.add((odd, first))
    assert parities == {(0, first_of_even := dict(parities)[0]), (1, 1 - first_of_even)}


def test_where_packets_are_lost_each_holds_one_frame() -> None:
    sending = AnswerSender(LEAST, encoder=VOIP)
    assert {opus_toc.duration(packet.payload) for _, packet in sending.turns(12)} == {960}


def test_a_leg_rests_when_its_last_packet_is_over() -> None:
    sending = AnswerSender(LEAST, frames=4)
    sending.turns(4)
    assert not sending.rested
    sending.turns(4, first=4)
    assert sending.rested


@pytest.mark.parametrize("effort", [FULL, LEAST])
def test_a_pause_leaves_a_gap_in_rtp_time_as_long_as_it_was(effort: EncoderComplexity) -> None:
    sending = AnswerSender(effort, frames=40)
    before = sending.turns(5)[-1]
    count = len(sending.sent)
    turn, packet = sending.turns(2, first=50)[count]
    passed = (turn - before[0]) * DOWN_FRAME_SAMPLES * 2
    assert packet.timestamp - before[1].timestamp & 0xFFFFFFFF == passed
