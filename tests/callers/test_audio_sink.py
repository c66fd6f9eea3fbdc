import asyncio
from fractions import Fraction

import numpy as np
import pytest
from aiortc.rtp import RtpPacket
from av import AudioCodecContext, AudioFrame, CodecContext

from services.callers.audio_sink import AudioSink
from services.callers.correlation import best_match
from services.callers.errors import WaitTimeoutError
from services.runtime import clock

FRAME = 960
SOUND = (np.random.default_rng(3).normal(size=FRAME * 20) * 6000).astype(np.int16)
SILENCE = b"\xf8\xff\xfe"


def opus(samples: np.ndarray) -> list[bytes]:
    encoder = CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.format, encoder.bit_rate = 48_000, "s16", 128_000
    encoder.layout, encoder.time_base = "mono", Fraction(1, 48_000)
    packets = []
    for at in range(0, len(samples), FRAME):
        frame = AudioFrame.from_ndarray(samples[np.newaxis, at : at + FRAME], layout="mono")
        frame.sample_rate, frame.pts = 48_000, at
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def receive(sink: AudioSink, payload: bytes, timestamp: int) -> None:
    packet = RtpPacket(timestamp=timestamp % (1 << 32))
    packet.payload = payload
    sink.record_packet(packet)


def test_packets_are_decoded_in_order_of_rtp_time() -> None:
    sink = AudioSink()
    packets = list(enumerate(opus(SOUND)))
    packets[4], packets[5] = packets[5], packets[4]
    for index, payload in packets:
        receive(sink, payload, index * FRAME)
    decoded = sink.pcm(hz=48_000)
    assert decoded.size >= SOUND.size - FRAME
    assert best_match(SOUND[FRAME * 2 : FRAME * 15], decoded).peak > 0.8


def test_a_pause_of_the_sender_is_silence_as_long_as_rtp_time_says() -> None:
    sink = AudioSink()
    first, second = opus(SOUND)[:2]
    receive(sink, first, 0)
    receive(sink, second, FRAME * 11)
    decoded = sink.pcm(hz=48_000)
    assert decoded.size == FRAME * 12
    assert not decoded[FRAME : FRAME * 11].any()


def test_rtp_time_may_wrap() -> None:
    sink = AudioSink()
    for index, payload in enumerate(opus(SOUND)[:4]):
        receive(sink, payload, (1 << 32) - 2 * FRAME + index * FRAME)
    assert sink.pcm(hz=48_000).size == 4 * FRAME


def test_without_packets_there_is_no_sound() -> None:
    assert AudioSink().pcm(hz=16_000).size == 0


async def test_silence_is_no_sound() -> None:
    sink = AudioSink()
    began = clock.monotonic()
    receive(sink, SILENCE, 0)
    receive(sink, b"\xf8", FRAME)
    with pytest.raises(WaitTimeoutError):
        await sink.first_sound(since_s=began, timeout_s=0.01)
    receive(sink, opus(SOUND)[3], 2 * FRAME)
    assert (await sink.first_sound(since_s=began, timeout_s=1)).timestamp == 2 * FRAME


async def test_waiting_for_sound_ends_when_it_arrives() -> None:
    sink = AudioSink()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(sink.first_sound(since_s=0, timeout_s=5))
        await asyncio.sleep(0)
        receive(sink, opus(SOUND)[3], 0)
    assert waiting.result() is sink.packets[0]


async def test_the_last_sound_is_that_before_the_pause() -> None:
    sink = AudioSink()
    sound = opus(SOUND)[3]
    for index in range(3):
        receive(sink, sound, index * FRAME)
    assert (await sink.last_sound(since_s=0, quiet_s=0.05, timeout_s=5)) is sink.packets[2]
    receive(sink, sound, 9 * FRAME)
    assert (await sink.last_sound(since_s=0, quiet_s=0.05, timeout_s=5)) is sink.packets[2]


async def test_a_pause_in_the_sound_is_no_end_where_silence_is_sent_too() -> None:
    sink = AudioSink()
    receive(sink, opus(SOUND)[3], 0)
    receive(sink, SILENCE, FRAME)
    last = await sink.last_sound(since_s=0, quiet_s=0.05, timeout_s=5, any_packet=True)
    assert last is sink.packets[1]


async def test_sound_without_a_pause_has_no_last_one() -> None:
    sink = AudioSink()
    receive(sink, opus(SOUND)[3], 0)
    with pytest.raises(WaitTimeoutError, match="end of the sound"):
        await sink.last_sound(since_s=0, quiet_s=60, timeout_s=0.01)
