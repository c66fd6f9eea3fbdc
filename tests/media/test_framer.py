import numpy as np

from services.contracts.audio import UP_FRAME_BYTES, UP_FRAME_SAMPLES
from services.media.core.framer import MAX_AHEAD_FRAMES, Framer
from services.media.core.resample import Decimator

FRAME = b"\x01\x00" * UP_FRAME_SAMPLES
SILENCE = bytes(UP_FRAME_BYTES)


def test_frames_are_numbered_from_nought_wherever_the_timestamps_begin() -> None:
    framer = Framer()
    indices = [framer.push(FRAME, timestamp=9_000 + n * 320, now=n * 0.02)[0].index for n in range(3)]
    assert indices == [0, 1, 2]


def test_a_gap_is_filled_with_silence() -> None:
    framer = Framer()
    framer.push(FRAME, timestamp=0, now=0)
    frames = framer.push(FRAME, timestamp=3 * 320, now=0.06)
    assert [(frame.index, frame.pcm) for frame in frames] == [(1, SILENCE), (2, SILENCE), (3, FRAME)]
    assert framer.filled_frames == 2


def test_packets_of_other_lengths_are_cut_into_frames() -> None:
    framer = Framer()
    assert framer.push(FRAME[:320], timestamp=0, now=0) == []
    assert [frame.index for frame in framer.push(FRAME * 2, timestamp=160, now=0.06)] == [0, 1]


def test_a_timestamp_that_leaps_moves_the_index_by_the_wall_clock_only() -> None:
    framer = Framer()
    framer.push(FRAME, timestamp=0, now=100.0)
    assert [frame.index for frame in framer.push(FRAME, timestamp=2**31, now=102.0)] == [100]
    assert [frame.index for frame in framer.push(FRAME, timestamp=2**31 + 320, now=102.02)] == [101]


def test_a_timestamp_that_goes_back_changes_nothing() -> None:
    framer = Framer()
    framer.push(FRAME, timestamp=3200, now=0)
    assert [frame.index for frame in framer.push(FRAME, timestamp=0, now=0.02)] == [1]


def test_a_peer_that_sends_faster_than_time_passes_is_cut_short() -> None:
    framer = Framer()
    for n in range(300):
        framer.push(FRAME, timestamp=n * 320, now=0)
    assert framer.dropped_frames == 300 - MAX_AHEAD_FRAMES


def test_a_tone_keeps_its_pitch_and_level_and_what_16_khz_cannot_hold_is_gone() -> None:
    at = np.arange(4800)
    low, high = (10_000 * np.sin(2 * np.pi * hz * at / 48_000) for hz in (440, 15_000))
    for wave, expected in ((low, 10_000), (high, 0)):
        stereo = np.repeat(wave.astype("<i2"), 2)
        decimator = Decimator()
        parts = [decimator.convert(stereo[n : n + 1920], channels=2) for n in range(0, len(stereo), 1920)]
        out = np.frombuffer(b"".join(parts), "<i2")[100:]
        assert len(b"".join(parts)) == 1600 * 2
        assert abs(np.abs(out.astype(int)).max() - expected) < 200


def test_full_scale_does_not_wrap() -> None:
    square = np.where(np.arange(960) % 96 < 48, 32767, -32768).astype("<i2")
    out = np.frombuffer(Decimator().convert(square, channels=1), "<i2").astype(int)
    assert np.abs(np.diff(out)).max() < 60_000
