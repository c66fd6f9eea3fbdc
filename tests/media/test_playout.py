import numpy as np

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES
from services.contracts.ids import ItemId
from services.media.core.conversation import playout as module
from services.media.core.conversation.playout import MAX_BUFFERED_SAMPLES, MAX_REMEMBERED_ITEMS, Cut, Playout, Pulled

A, B = ItemId("item_a"), ItemId("item_b")
FRAME = DOWN_FRAME_SAMPLES


def sound(samples: int, level: int = 1000) -> bytes:
    return np.full(samples, level, "<i2").tobytes()


def samples(pulled: Pulled | None) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    assert pulled is not None
    return np.frombuffer(pulled.pcm, "<i2")


def drain(playout: Playout) -> list[Pulled]:
    pulled = []
    while (frame := playout.pull()) is not None:
        pulled.append(frame)
    return pulled


def test_nothing_plays_when_nothing_came() -> None:
    playout = Playout()
    assert playout.pull() is None
    assert not playout.active
    assert not playout.pullable
    assert playout.current is None


def test_a_burst_leaves_in_frames_and_in_order() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(2 * FRAME), end=False)
    playout.queue_audio(A, 2 * FRAME, sound(FRAME), end=True)
    assert playout.pullable
    pulled = drain(playout)
    assert [(frame.start, frame.end, frame.first, frame.last) for frame in pulled[:3]] == [
        (0, FRAME, True, False),
        (FRAME, 2 * FRAME, False, False),
        (2 * FRAME, 3 * FRAME, False, True),
    ]
    assert {len(frame.pcm) for frame in pulled} == {DOWN_FRAME_BYTES}


def test_chunks_that_are_no_multiple_of_a_frame_are_joined() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(700), end=False)
    playout.queue_audio(A, 700, sound(260), end=True)
    assert [(frame.start, frame.end) for frame in drain(playout)[:2]] == [(0, 480), (480, 960)]


def test_items_play_one_after_the_other() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    playout.queue_audio(B, 0, sound(FRAME), end=True)
    playout.queue_audio(A, FRAME, sound(FRAME), end=True)
    assert playout.current == A
    assert [frame.item_id for frame in drain(playout)][:3] == [A, A, B]
    assert playout.is_over(A)
    assert playout.is_over(B)
    assert playout.played(A) == 2 * FRAME


def test_the_last_short_frame_falls_to_silence_without_a_step() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME + 100), end=True)
    playout.pull()
    last = samples(playout.pull()).astype(int)
    assert np.abs(np.diff(last)).max() <= 1000 / module.RAMP_SAMPLES + 1
    assert last[-1] == 0
    assert playout.pull() is None


def test_audio_that_ends_with_a_whole_frame_is_followed_by_a_fade() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=True)
    playout.pull()
    assert playout.pullable
    fade = playout.pull()
    assert fade is not None
    assert fade.item_id is None
    assert samples(fade)[0] == 1000
    assert playout.pull() is None
    assert playout.underruns == 0


def test_an_under_run_fades_out_and_in() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    first = samples(playout.pull())
    assert (first[0], first[-1]) == (0, 1000)
    out = samples(playout.pull())
    assert (out[0], out[-1]) == (1000, 0)
    assert playout.pull() is None
    assert playout.underruns == 1
    playout.queue_audio(A, FRAME, sound(module.CUSHION_SAMPLES), end=False)
    again = samples(playout.pull())
    assert (again[0], again[-1]) == (0, 1000)
    assert playout.active


def test_a_very_short_piece_is_faded_as_far_as_it_goes() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(10), end=True)
    assert samples(playout.pull())[0] == 0


def test_the_end_may_come_after_the_last_sound() -> None:
    playout = Playout()
    assert playout.queue_audio(A, 0, sound(FRAME), end=False) == []
    playout.pull()
    assert playout.queue_audio(A, FRAME, b"", end=True) == [A]
    assert not playout.active


def test_an_item_without_any_sound_is_over_when_its_turn_comes() -> None:
    playout = Playout()
    assert playout.queue_audio(A, 0, b"", end=True) == [A]
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    assert not playout.active


def test_a_cut_forgets_all_and_says_how_far_each_item_was() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(3 * FRAME), end=True)
    playout.queue_audio(B, 0, sound(3 * FRAME), end=True)
    playout.pull()
    assert playout.cut() == [Cut(A, FRAME, started=True), Cut(B, 0, started=False)]
    assert not playout.active
    assert playout.played(A) == FRAME
    fade = playout.pull()
    assert fade is not None
    assert fade.item_id is None
    assert playout.pull() is None


def test_audio_of_a_cut_item_that_comes_later_is_ignored() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    playout.cut()
    assert playout.queue_audio(A, FRAME, sound(FRAME), end=True) == []
    assert playout.pull() is None


def test_one_item_can_be_cut_even_before_it_came() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=True)
    assert playout.cut(B) == [Cut(B, 0, started=False)]
    assert playout.cut(B) == []
    playout.queue_audio(B, 0, sound(FRAME), end=True)
    assert [frame.item_id for frame in drain(playout)] == [A, None]


def test_the_same_audio_twice_is_played_once() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    playout.queue_audio(A, 0, sound(2 * FRAME, 500), end=True)
    assert [(frame.start, frame.end) for frame in drain(playout)[:2]] == [(0, FRAME), (FRAME, 2 * FRAME)]


def test_a_hole_keeps_the_positions_of_what_follows() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(100), end=False)
    playout.queue_audio(A, 1000, sound(FRAME), end=True)
    assert [(frame.start, frame.end) for frame in drain(playout)[:2]] == [(0, 100), (1000, 1000 + FRAME)]
    assert playout.played_ms == 24


def test_half_a_sample_is_thrown_away() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME) + b"\x01", end=True)
    drain(playout)
    assert playout.played(A) == FRAME


def test_a_worker_beyond_its_credit_loses_what_is_too_much() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(MAX_BUFFERED_SAMPLES), end=False)
    playout.queue_audio(A, MAX_BUFFERED_SAMPLES, sound(1), end=True)
    assert playout.overruns == 1


def test_only_so_many_items_are_remembered() -> None:
    playout = Playout()
    for number in range(MAX_REMEMBERED_ITEMS + 1):
        playout.queue_audio(ItemId(f"item_{number}"), 0, b"", end=True)
    assert not playout.is_over(ItemId("item_0"))
    assert playout.is_over(ItemId("item_1"))


def test_played_time_counts_all_items() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=True)
    playout.queue_audio(B, 0, sound(FRAME // 2), end=True)
    drain(playout)
    assert playout.played_ms == 30


def test_an_answer_that_ran_dry_goes_on_with_enough_for_a_while() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    drain(playout)
    playout.queue_audio(A, FRAME, sound(module.CUSHION_SAMPLES - 1), end=False)
    assert not playout.pullable
    assert playout.pull() is None
    playout.queue_audio(A, FRAME + module.CUSHION_SAMPLES - 1, sound(1), end=False)
    assert playout.pullable
    assert [frame.item_id for frame in drain(playout)][:15] == [A] * 15
    assert playout.underruns == 2


def test_an_answer_that_is_complete_goes_on_with_what_there_is() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(FRAME), end=False)
    drain(playout)
    playout.queue_audio(A, FRAME, sound(5), end=True)
    assert playout.pullable
    assert drain(playout)[0].last


def test_no_answer_begins_with_less_than_a_frame() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(1), end=False)
    assert playout.pull() is None
    playout.queue_audio(A, 1, sound(FRAME - 1), end=False)
    assert playout.pull() is not None
    assert playout.underruns == 0


def test_the_end_of_a_sound_is_pushed_out_of_the_encoder() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, sound(2 * FRAME - module.RAMP_SAMPLES - 10), end=True)
    heard = np.concatenate([samples(frame) for frame in drain(playout)])
    assert len(heard) - np.flatnonzero(heard)[-1] > module.SILENT_SAMPLES
