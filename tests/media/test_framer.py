from services.contracts.audio import UP_FRAME_BYTES, UP_FRAME_SAMPLES
from services.media.core.rtp.framer import MAX_AHEAD_FRAMES, Framer

FRAME = b"\x01\x00" * UP_FRAME_SAMPLES
SILENCE = bytes(UP_FRAME_BYTES)


def test_frames_are_numbered_from_nought() -> None:
    framer = Framer()
    assert [(frame.index, frame.pcm) for _ in range(3) for frame in framer.append_audio(FRAME)] == [
        (n, FRAME) for n in range(3)
    ]


def test_silence_is_frames_like_any() -> None:
    framer = Framer()
    frames = [*framer.append_audio(FRAME), *framer.silence(2 * UP_FRAME_SAMPLES), *framer.append_audio(FRAME)]
    assert [(frame.index, frame.pcm) for frame in frames] == [(0, FRAME), (1, SILENCE), (2, SILENCE), (3, FRAME)]


def test_packets_of_other_lengths_are_cut_into_frames() -> None:
    framer = Framer()
    assert framer.append_audio(FRAME[:320]) == []
    frames = framer.append_audio(FRAME * 2)
    assert [(frame.index, frame.pcm) for frame in frames] == [(0, FRAME), (1, FRAME)]
    assert [frame.index for frame in framer.append_audio(FRAME[:320])] == [2]


def test_it_goes_on_where_the_wall_clock_is_and_never_back() -> None:
    framer = Framer()
    framer.room(now=100.0)
    framer.append_audio(FRAME)
    framer.realign(now=102.0)
    assert [frame.index for frame in framer.append_audio(FRAME)] == [100]
    framer.realign(now=101.0)
    assert [frame.index for frame in framer.append_audio(FRAME)] == [101]


def test_half_a_frame_from_before_a_jump_is_forgotten() -> None:
    framer = Framer()
    framer.room(now=0.0)
    framer.append_audio(FRAME[:320])
    framer.realign(now=0.2)
    assert framer.append_audio(FRAME)[0].pcm == FRAME


def test_there_is_room_for_the_time_that_passed_and_two_seconds() -> None:
    framer = Framer()
    assert framer.room(now=100.0) == MAX_AHEAD_FRAMES
    framer.append_audio(FRAME * 30)
    assert framer.room(now=100.0) == MAX_AHEAD_FRAMES - 30
    assert framer.room(now=101.0) == MAX_AHEAD_FRAMES + 20
