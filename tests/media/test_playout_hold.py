"""An answer that is held: nothing is lost, nothing is heard twice, and it does not click."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES
from services.contracts.ids import ItemId
from services.media.core.conversation.playout import CUSHION_SAMPLES, Playout
from tests.media.test_playout_seams import LARGEST_STEP, hum, largest_step, leave

A, B = ItemId("item_a"), ItemId("item_b")
FRAME = DOWN_FRAME_SAMPLES
_steps = st.lists(st.sampled_from(["hold", "release", "pull", "pull", "pull two", "queue"]), max_size=60)


@given(_steps)
def test_every_sample_is_played_once_and_in_order_over_holds_and_releases(steps: list[str]) -> None:
    playout, queued, at = Playout(), 0, 0
    for step in [*steps, "release", *["queue", "pull"] * 3, "end"]:
        if step == "hold":
            playout.hold()
        elif step == "release":
            playout.release()
        elif step == "queue":
            playout.queue_audio(A, queued, hum(queued, 700), end=False)
            queued += 700
        elif step == "end":
            playout.queue_audio(A, queued, b"", end=True)
        pulls = {"pull": 1, "pull two": 1, "end": 200}.get(step, 0)
        for _ in range(pulls):
            pulled = playout.pull(2 if step == "pull two" else 1)
            if pulled is not None and pulled.item_id is not None:
                assert not playout.is_held
                assert pulled.start == at
                at = pulled.end
    assert at == queued
    assert playout.is_over(A)


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 3))
def test_a_hold_is_no_click_and_neither_is_what_follows(before: int, pause: int, again: int) -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(29, 30 * FRAME), end=True)
    pcm = b""
    for _ in range(again):
        pcm += leave(playout, before)
        playout.hold()
        pcm += leave(playout, pause)
        playout.release()
    pcm += leave(playout, 40)
    assert largest_step(pcm) <= LARGEST_STEP
    assert playout.underruns == 0


def test_a_held_answer_is_silent_after_5_ms() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(29, 10 * FRAME), end=True)
    leave(playout, 3)
    playout.hold()
    assert playout.pullable, "the fade"
    fade = np.frombuffer(leave(playout, 1), "<i2")
    assert fade[:100].any()
    assert not fade[120:].any()
    assert not playout.pullable
    assert playout.pull() is None
    assert playout.played(A) == 3 * FRAME
    playout.release()
    assert playout.pullable


def test_what_comes_while_it_is_held_waits_and_is_no_under_run() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(0, 2 * FRAME), end=False)
    leave(playout, 2)
    playout.hold()
    playout.queue_audio(A, 2 * FRAME, hum(2 * FRAME, CUSHION_SAMPLES), end=True)
    assert leave(playout, 3)[DOWN_FRAME_BYTES:] == bytes(2 * DOWN_FRAME_BYTES)
    playout.release()
    leave(playout, 20)
    assert playout.underruns == 0
    assert playout.played(A) == 2 * FRAME + CUSHION_SAMPLES


def test_a_cut_of_what_is_held_leaves_nothing() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(0, 9 * FRAME), end=True)
    leave(playout, 2)
    playout.hold()
    assert [(cut.item_id, cut.played) for cut in playout.cut()] == [(A, 2 * FRAME)]
    playout.release()
    playout.queue_audio(B, 0, hum(0, FRAME), end=True)
    leave(playout, 2)
    assert playout.is_over(B)
