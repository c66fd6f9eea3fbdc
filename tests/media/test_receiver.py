import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client import REGISTRY

from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ, UP_FRAME_BYTES, PcmFrame
from services.contracts.ids import LegId
from services.media.core.rtp import rtp_packet
from services.media.core.speech.gate import Forward, GateClosed, GateEvent, VadGate
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.receiver import Receiver
from services.media.legs.webrtc.wheel import Staged
from services.runtime.audio.opus import VOIP, OpusEncoder

OPUS = 111
FRAMES = 40


def tone(hz: float = 440.0) -> NDArray[np.int16]:
    return np.asarray(8000 * np.sin(2 * np.pi * hz * np.arange(FRAMES * DOWN_FRAME_SAMPLES) / DOWN_HZ), "<i2")


def packets(*, ssrc: int = 7, number: int = 0, column: int = 0, payload_type: int = OPUS) -> list[bytes]:
    encoder = OpusEncoder(VOIP)
    payloads = [encoder.encode(frame.tobytes()) for frame in tone().reshape(FRAMES, -1)]
    return [
        rtp_packet.header(payload_type, number + n, (column + n) * 960, ssrc) + payload
        for n, payload in enumerate(payloads)
    ]


class NoTurns:
    """A wheel that never runs."""

    def add_receiver(self, receiver: Staged) -> None:
        assert receiver.stages


def a_receiver() -> Receiver:
    return Receiver(OPUS, OwnerLink(LegId("leg_a")), NoTurns())


def push(receiver: Receiver, data: bytes, *, now: float) -> list[PcmFrame]:
    receiver.queue_packet(data)
    receiver.order(now)
    receiver.decode(now)
    return receiver.frames


def tick(receiver: Receiver, *, now: float) -> list[PcmFrame]:
    receiver.on_timer(now=now)
    return receiver.frames


def hear(receiver: Receiver, sent: list[bytes], *, start: float = 0.0) -> list[PcmFrame]:
    """A packet every 20 ms; an empty one is lost."""
    frames: list[PcmFrame] = []
    for n, data in enumerate(sent):
        now = start + n * 0.02
        frames += push(receiver, data, now=now) if data else tick(receiver, now=now)
    return frames


def loudness(frame: PcmFrame) -> float:
    return float(np.abs(np.frombuffer(frame.pcm, "<i2").astype(int)).max())


def test_every_packet_is_a_frame_at_once() -> None:
    receiver = a_receiver()
    for n, data in enumerate(packets()):
        assert [frame.index for frame in push(receiver, data, now=n * 0.02)] == [n]


def test_a_tone_keeps_its_pitch_and_level() -> None:
    pcm = b"".join(frame.pcm for frame in hear(a_receiver(), packets())[10:])
    heard = np.frombuffer(pcm, "<i2").astype(float)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * 16_000 / len(heard) == pytest.approx(440, abs=5)
    assert np.abs(heard).max() == pytest.approx(8000, rel=0.2)


def test_lost_packets_leave_no_gap_in_the_audio_clock() -> None:
    receiver = a_receiver()
    sent = packets()
    sent[10] = sent[20] = sent[21] = sent[22] = b""
    frames = hear(receiver, sent)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert all(len(frame.pcm) == UP_FRAME_BYTES for frame in frames)
    assert receiver.recovered_samples == 2 * 960
    assert receiver.concealed_samples == 2 * 960
    assert min(loudness(frame) for frame in frames[5:]) > 2000


def test_a_long_loss_is_made_up_and_then_silent() -> None:
    receiver = a_receiver()
    sent = packets()
    frames = hear(receiver, [*sent[:10], *[b""] * 15, *sent[25:]])
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [loudness(frame) for frame in frames[15:24]] == [0] * 9
    assert receiver.silenced_samples == 9 * 960


def test_silence_that_the_peer_does_not_send_is_heard_as_it_passes() -> None:
    receiver = a_receiver()
    hear(receiver, packets()[:10])
    push(receiver, rtp_packet.header(OPUS, 10, 10 * 960, 7) + b"\x08", now=0.2)
    assert receiver.due == pytest.approx(0.24)
    assert [frame.index for frame in tick(receiver, now=0.33)] == [11, 12, 13, 14, 15]
    assert receiver.dtx_samples == 5 * 960


def test_a_pause_too_long_to_fill_moves_the_audio_clock_to_the_wall_clock() -> None:
    receiver = a_receiver()
    hear(receiver, packets()[:10])
    (frame,) = push(receiver, rtp_packet.header(OPUS, 10, 500 * 960, 7) + b"\x08", now=10.0)
    assert frame.index == 500


def test_another_stream_goes_on_in_the_same_audio_clock() -> None:
    receiver = a_receiver()
    hear(receiver, packets()[:10])
    assert receiver.reception is not None
    assert receiver.reception.ssrc == 7
    frames = hear(receiver, packets(ssrc=8, number=30_000, column=77_777)[:10], start=0.2)
    assert [frame.index for frame in frames] == list(range(10, 20))
    assert receiver.reception.ssrc == 8


def through_gate(gate: VadGate, frames: list[PcmFrame], *, now: float) -> list[GateEvent]:
    events = [
        event
        for frame in frames
        for event in gate.on_frame(frame, probability=float(loudness(frame) > 1000), level_dbfs=UNKNOWN_DBFS, now=now)
    ]
    return events + gate.on_timer(now=now)


def test_the_gate_of_a_caller_who_fell_silent_closes_while_nothing_comes() -> None:
    receiver, gate = a_receiver(), VadGate(GateConfig(hangover_frames=10))
    through_gate(gate, hear(receiver, packets()[:10]), now=0.18)
    push(receiver, rtp_packet.header(OPUS, 10, 10 * 960, 7) + b"\x08", now=0.2)
    events = [event for n in range(11, 25) for event in through_gate(gate, tick(receiver, now=n * 0.02), now=n * 0.02)]
    assert [event.reason for event in events if isinstance(event, GateClosed)] == ["speech_end"]


def test_the_gate_of_a_caller_whose_packets_stop_closes_by_the_wall_clock_and_misses_nothing_later() -> None:
    receiver, gate = a_receiver(), VadGate(GateConfig(hangover_frames=10))
    sent = packets()
    events = through_gate(gate, hear(receiver, sent[:10]), now=0.18)
    for n in range(10, 25):
        events += through_gate(gate, tick(receiver, now=n * 0.02), now=n * 0.02)
    assert [event.reason for event in events if isinstance(event, GateClosed)] == ["no_packets"]
    for data in sent[10:]:  # they were late, and come at once
        events += through_gate(gate, push(receiver, data, now=0.5), now=0.5)
    assert [event.frame.index for event in events if isinstance(event, Forward)] == list(range(FRAMES))


def test_what_is_not_opus_or_not_rtp_is_dropped_and_counted() -> None:
    receiver = a_receiver()
    assert push(receiver, b"\x80nonsense", now=0) == []
    assert push(receiver, packets(payload_type=0)[0], now=0) == []
    assert (receiver.malformed, receiver.wrong_payload_type, receiver.packets) == (1, 1, 0)


def test_a_packet_that_cannot_be_decoded_is_silence() -> None:
    receiver = a_receiver()
    hear(receiver, packets()[:10])
    broken = b"\x09abc"  # two frames of one and a half bytes each
    frames = push(receiver, rtp_packet.header(OPUS, 10, 10 * 960, 7) + broken, now=0.2)
    assert [(frame.index, loudness(frame)) for frame in frames] == [(10, 0), (11, 0)]
    assert receiver.malformed == 1
    assert [frame.index for frame in push(receiver, packets()[12], now=0.24)] == []
    assert [frame.index for frame in push(receiver, rtp_packet.header(OPUS, 11, 12 * 960, 7) + b"\x08", now=0.26)] == [
        12,
        13,
    ]


def test_redundancy_that_cannot_be_decoded_is_silence() -> None:
    receiver = a_receiver()
    hear(receiver, packets()[:10])
    broken = b"\x08\x40" + bytes(1400)  # says that it repeats the packet before, and is longer than a frame may be
    push(receiver, rtp_packet.header(OPUS, 11, 11 * 960, 7) + broken, now=0.22)
    frames = tick(receiver, now=0.3)
    assert [(frame.index, loudness(frame)) for frame in frames] == [(10, 0), (11, 0)]
    assert (receiver.malformed, receiver.recovered_samples) == (1, 0)


def test_a_peer_that_sends_faster_than_time_passes_is_cut_short() -> None:
    receiver = a_receiver()
    flood = [rtp_packet.header(OPUS, n, n * 960, 7) + b"\x08" for n in range(300)]
    frames = [frame for data in flood for frame in push(receiver, data, now=0.0)]
    assert [frame.index for frame in frames] == list(range(100))
    assert receiver.too_fast_frames == 200


def test_silence_counts_against_a_peer_that_is_too_fast() -> None:
    receiver = a_receiver()
    claims = [rtp_packet.header(OPUS, n, n * 45 * 960, 7) + b"\x08" for n in range(4)]
    frames = [frame for data in claims for frame in push(receiver, data, now=0.0)]
    assert len(frames) <= 100
    assert receiver.too_fast_frames == 44


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_counts_are_exported_once() -> None:
    receiver = a_receiver()
    sent = packets()
    sent[10] = b""
    hear(receiver, sent)
    before = counted("hushgate_packets_total", direction="up"), counted("hushgate_packets_lost_total")
    fec = counted("hushgate_concealed_seconds_total", how="fec")
    receiver.export()
    receiver.export()
    assert counted("hushgate_packets_total", direction="up") == before[0] + FRAMES - 1
    assert counted("hushgate_packets_lost_total") == before[1] + 1
    assert counted("hushgate_concealed_seconds_total", how="fec") == pytest.approx(fec + 0.02)


def test_a_leg_that_heard_nothing_exports_nothing() -> None:
    before = counted("hushgate_jitter_seconds_count")
    a_receiver().export()
    assert counted("hushgate_jitter_seconds_count") == before


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 100), st.binary(max_size=60)), max_size=20))
def test_no_authenticated_packet_breaks_a_receiver(sent: list[tuple[int, int, bytes]]) -> None:
    receiver = a_receiver()
    frames: list[PcmFrame] = []
    for n, (sequence, column, payload) in enumerate(sent):
        frames += push(receiver, rtp_packet.header(OPUS, sequence, column * 480, 7) + payload, now=n * 0.01)
        frames += tick(receiver, now=n * 0.01)
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    assert all(len(frame.pcm) == UP_FRAME_BYTES for frame in frames)
