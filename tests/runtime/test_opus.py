import contextlib

import numpy as np
import pytest
from av import CodecContext
from av.audio.codeccontext import AudioCodecContext
from av.packet import Packet
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, DOWN_HZ, UP_FRAME_BYTES, UP_HZ
from services.runtime.audio import opus
from services.runtime.audio.opus import (
    LOWDELAY,
    VOIP,
    EncoderConfig,
    OpusDecoder,
    OpusEncoder,
    OpusError,
    OpusMissingError,
)

FRAMES = 50
FRAME = UP_HZ // 50


def voice() -> NDArray[np.int16]:
    """A second of something like a voice: harmonics of 150 Hz that come and go."""
    at = np.arange(FRAMES * DOWN_FRAME_SAMPLES) / DOWN_HZ
    tones = sum(np.sin(2 * np.pi * 150 * n * at) / n for n in range(1, 12))
    return np.asarray(5000 * tones * (1 + np.sin(2 * np.pi * 4 * at)) / 2, "<i2")


def encoded(config: EncoderConfig) -> list[bytes]:
    encoder = OpusEncoder(config)
    return [encoder.encode(frame.tobytes()) for frame in voice().reshape(FRAMES, -1)]


def likeness(heard: NDArray[np.int16], hz: int) -> float:
    """The best correlation with the voice over the delays that a codec may have."""
    original = np.interp(np.arange(hz) / hz, np.arange(DOWN_HZ) / DOWN_HZ, voice().astype(float))
    delays = range(hz * 15 // 1000)
    return max(float(np.corrcoef(original[: hz // 2], heard[delay : delay + hz // 2])[0, 1]) for delay in delays)


@pytest.mark.parametrize(("config", "least"), [(LOWDELAY, 0.97), (VOIP, 0.85)])
def test_encoded_audio_is_decoded_again(config: EncoderConfig, least: float) -> None:
    decoder = OpusDecoder()
    pcm = b"".join(decoder.decode(payload) for payload in encoded(config))
    assert len(pcm) == FRAMES * UP_FRAME_BYTES
    assert likeness(np.frombuffer(pcm, "<i2"), UP_HZ) > least


def test_another_decoder_decodes_the_same() -> None:
    codec = CodecContext.create("libopus", "r")
    assert isinstance(codec, AudioCodecContext)
    codec.sample_rate = 48_000
    codec.layout = "mono"
    frames = [frame for payload in encoded(LOWDELAY) for frame in codec.decode(Packet(payload))]
    pcm = np.concatenate([np.frombuffer(bytes(frame.planes[0])[: frame.samples * 2], "<i2") for frame in frames])
    assert likeness(pcm, 48_000) > 0.97


def test_a_lost_frame_is_recovered_from_the_one_after_it() -> None:
    payloads = encoded(VOIP)
    whole, lossy = OpusDecoder(), OpusDecoder()
    for payload in payloads[:20]:
        whole.decode(payload)
        lossy.decode(payload)
    original = np.frombuffer(whole.decode(payloads[20]), "<i2")
    recovered = np.frombuffer(lossy.recover(payloads[21], FRAME), "<i2")
    assert np.corrcoef(original, recovered)[0, 1] > 0.8


def test_concealment_continues_the_stream_and_fades() -> None:
    decoder = OpusDecoder()
    spoken = [np.frombuffer(decoder.decode(payload), "<i2") for payload in encoded(LOWDELAY)[:7]]
    made = np.frombuffer(decoder.conceal(5 * FRAME), "<i2").astype(float).reshape(5, -1)
    assert np.corrcoef(spoken[-1], made[0])[0, 1] != 0
    assert np.abs(made[0]).max() > 0
    assert np.abs(made[4]).max() < np.abs(spoken[-1].astype(float)).max()


def test_a_reset_decoder_has_no_state() -> None:
    payloads = encoded(LOWDELAY)
    fresh, used = OpusDecoder(), OpusDecoder()
    for payload in payloads:
        used.decode(payload)
    used.reset()
    assert used.decode(payloads[9]) == fresh.decode(payloads[9])


def test_packets_of_every_length_are_decoded() -> None:
    silk_20_ms, silk_60_ms, celt_2_5_ms = b"\x08", b"\x18", b"\x80"
    decoder = OpusDecoder()
    lengths = [len(decoder.decode(payload)) for payload in (silk_20_ms, silk_60_ms, celt_2_5_ms, b"\x1b\x02")]
    assert lengths == [640, 1920, 80, 3840]


def test_what_cannot_be_decoded_is_refused() -> None:
    decoder = OpusDecoder()
    for payload in (b"", b"\x03", b"\xfb\x80", b"\x1b\x03"):  # nothing, no count, no frames, 180 ms
        with pytest.raises(OpusError):
            decoder.decode(payload)
    with pytest.raises(OpusError, match="invalid argument"):
        decoder.recover(b"", FRAME)
    for samples in (0, 1, 121 * UP_HZ // 1000):
        with pytest.raises(OpusError):
            decoder.conceal(samples)
    assert len(decoder.decode(b"\x08")) == UP_FRAME_BYTES


@given(st.lists(st.binary(max_size=1500), max_size=5))
def test_no_bytes_crash_a_decoder(payloads: list[bytes]) -> None:
    decoder = OpusDecoder()
    for payload in payloads:
        for step in (decoder.decode, lambda payload: decoder.recover(payload, FRAME)):
            with contextlib.suppress(OpusError):
                assert 0 < len(step(payload)) <= 6 * UP_FRAME_BYTES
    assert len(decoder.conceal(FRAME)) == UP_FRAME_BYTES


def test_an_encoder_takes_one_frame_at_a_time_or_two() -> None:
    encoder = OpusEncoder()
    for frames in (1, 2):
        heard = OpusDecoder().decode(encoder.encode(bytes(frames * DOWN_FRAME_BYTES)))
        assert len(heard) == frames * UP_FRAME_BYTES
    for pcm in (b"", bytes(958), bytes(1918), bytes(2880)):
        with pytest.raises(OpusError):
            encoder.encode(pcm)


def test_settings_that_libopus_does_not_know_are_refused() -> None:
    with pytest.raises(OpusError):
        OpusEncoder(EncoderConfig("voip", bit_rate=-5))
    with pytest.raises(OpusError):
        OpusDecoder(hz=44_100)


def test_discontinuous_transmission_makes_silence_small() -> None:
    encoder = OpusEncoder(EncoderConfig("voip", bit_rate=32_000, dtx=True))
    assert len([encoder.encode(bytes(960)) for _ in range(50)][-1]) <= 2


def test_a_missing_library_is_reported() -> None:
    with pytest.raises(OpusMissingError, match="libopus0"):
        opus.open_library([])
    with pytest.raises(OpusMissingError, match=r"/nowhere/libopus\.so"):
        opus.open_library(["/nowhere/libopus.so"])


def test_the_library_reports_its_version() -> None:
    assert opus.version().startswith("libopus")
