"""Playout does not click: no step between two samples that the audio itself does not have."""

from itertools import pairwise

import numpy as np
import pytest

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, DOWN_HZ
from services.contracts.ids import ItemId
from services.media.core.conversation.playout import CUSHION_SAMPLES, RAMP_SAMPLES, Playout

A, B = ItemId("item_a"), ItemId("item_b")
FRAME = DOWN_FRAME_SAMPLES
LOUD = 30_000
HUM = LOUD * np.sin(2 * np.pi * 200 * np.arange(10 * DOWN_HZ) / DOWN_HZ)
NATURAL_STEP = int(np.abs(np.diff(HUM)).max()) + 1
LARGEST_STEP = NATURAL_STEP + 2 * LOUD // RAMP_SAMPLES + 2
"""What the hum does, and a ramp from the one extreme to the other."""


def hum(start: int, samples: int) -> bytes:
    return HUM[start : start + samples].astype("<i2").tobytes()


def leave(playout: Playout, frames: int) -> bytes:
    """Return the audio of ``frames`` slots; silence where nothing is pulled."""
    pulled = (playout.pull() for _ in range(frames))
    return b"".join(frame.pcm if frame else bytes(DOWN_FRAME_BYTES) for frame in pulled)


def largest_step(pcm: bytes) -> int:
    return int(np.abs(np.diff(np.frombuffer(pcm, "<i2").astype(int), prepend=0, append=0)).max())


def test_a_hum_is_played_as_it_is_but_for_its_ends() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(37, 10 * FRAME), end=True)
    pcm = leave(playout, 12)
    assert pcm[DOWN_FRAME_BYTES : 10 * DOWN_FRAME_BYTES] == hum(37 + FRAME, 9 * FRAME)
    assert largest_step(pcm) <= LARGEST_STEP


@pytest.mark.parametrize("left", [1, 100, FRAME - RAMP_SAMPLES // 2, FRAME - 1, FRAME])
def test_an_item_may_end_anywhere_in_a_frame_and_another_follow(left: int) -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(0, FRAME + left), end=True)
    playout.queue_audio(B, 0, hum(61, 3 * FRAME), end=True)
    assert largest_step(leave(playout, 8)) <= LARGEST_STEP


@pytest.mark.parametrize("left", [1, 100, FRAME - RAMP_SAMPLES // 2, FRAME - 1])
def test_a_hole_is_no_click(left: int) -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(0, FRAME + left), end=False)
    playout.queue_audio(A, 5000, hum(31, 3 * FRAME), end=True)
    assert largest_step(leave(playout, 8)) <= LARGEST_STEP


@pytest.mark.parametrize("frames", range(1, 6))
def test_a_cut_is_no_click_and_neither_is_what_comes_at_once_afterwards(frames: int) -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(frames * 13, 10 * FRAME), end=True)
    before = leave(playout, frames)
    playout.cut()
    playout.queue_audio(B, 0, hum(90, 2 * FRAME), end=True)
    assert largest_step(before + leave(playout, 4)) <= LARGEST_STEP


@pytest.mark.parametrize("chunk", [100, FRAME, 700, 1200, 2400])
@pytest.mark.parametrize("late", [0, 1, 2, 5])
def test_a_provider_that_falls_behind_at_every_chunk_makes_no_clicks(chunk: int, late: int) -> None:
    playout = Playout()
    pcm = b""
    for n in range(40):
        playout.queue_audio(A, n * chunk, hum(n * chunk, chunk), end=n == 39)
        pcm += leave(playout, chunk // FRAME + late)
    pcm += leave(playout, 210)
    assert playout.is_over(A)
    assert playout.played(A) == 40 * chunk
    assert largest_step(pcm) <= LARGEST_STEP


def test_a_client_that_was_away_is_faded_in() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(0, 10 * FRAME), end=True)
    leave(playout, 3)
    playout.pause()
    assert playout.pull() is None
    assert not playout.pullable
    playout.resume()
    assert playout.pullable
    assert largest_step(leave(playout, 9)) <= LARGEST_STEP


def test_audio_that_goes_on_after_an_under_run_loses_no_sample() -> None:
    playout = Playout()
    playout.queue_audio(A, 0, hum(0, FRAME + 100), end=False)
    leave(playout, 3)
    playout.queue_audio(A, FRAME + 100, hum(FRAME + 100, CUSHION_SAMPLES), end=True)
    positions = []
    while (pulled := playout.pull()) and pulled.item_id:
        positions.append((pulled.start, pulled.end))
    assert positions[0][0] == FRAME + 100
    assert all(before[1] == after[0] for before, after in pairwise(positions))
    assert positions[-1][1] == FRAME + 100 + CUSHION_SAMPLES
