"""A provider that is too slow, or late at times: when playout rebuffers, and for how long."""

import random

from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ
from services.contracts.ids import ItemId
from services.media.core.conversation.playout import CUSHION_SAMPLES, MAX_WAIT_S, Playout, Pulled

A, B = ItemId("item_a"), ItemId("item_b")
FRAME = DOWN_FRAME_SAMPLES


class CushionPlayer:
    """A provider and a pacer in steps of 10 ms; `#` is a frame of the item, `f` a fade, `-` nothing."""

    def __init__(self) -> None:
        self.playout = Playout()
        self.now = 0.0
        self.position = 0

    def brings(self, frames: float, *, end: bool = False) -> None:
        samples = int(frames * FRAME)
        self.playout.queue_audio(A, self.position, b"\x00\x10" * samples, end=end, now=self.now)
        self.position += samples

    def plays(self, frames: int) -> str:
        drawing = ""
        for _ in range(frames):
            drawing += letter(self.playout.pull())
            self.now += 0.02
            self.playout.on_timer(now=self.now)
        return drawing


def letter(pulled: Pulled | None) -> str:
    if pulled is None:
        return "-"
    return "#" if pulled.item_id else "f"


def test_an_answer_begins_with_its_first_frame() -> None:
    player = CushionPlayer()
    player.brings(1)
    assert player.plays(1) == "#"


def test_less_than_a_frame_waits_for_the_rest() -> None:
    player = CushionPlayer()
    player.brings(0.5)
    assert player.plays(2) == "--"
    player.brings(0.5)
    assert player.plays(1) == "#"
    assert player.playout.underruns == 0


def test_what_is_played_without_company_and_runs_out_is_an_under_run() -> None:
    player = CushionPlayer()
    player.brings(0.5)
    assert player.plays(round(MAX_WAIT_S / 0.02)) == "-" * 25
    assert player.plays(2) == "#f"
    assert player.playout.underruns == 1


def test_after_an_under_run_playout_waits_for_a_cushion() -> None:
    player = CushionPlayer()
    player.brings(2)
    assert player.plays(4) == "##f-"
    player.brings(CUSHION_SAMPLES / FRAME - 1)
    assert player.plays(2) == "--"
    player.brings(1)
    assert player.plays(4) == "####"
    assert player.playout.underruns == 1


def test_the_end_of_an_item_needs_no_cushion() -> None:
    player = CushionPlayer()
    player.brings(1)
    player.plays(3)
    player.brings(0.5, end=True)
    assert player.plays(1) == "#"
    assert player.playout.is_over(A)


def test_an_end_without_sound_lets_out_what_waits() -> None:
    player = CushionPlayer()
    player.brings(1)
    player.plays(3)
    player.brings(2)
    assert player.plays(1) == "-"
    player.brings(0, end=True)
    assert player.plays(2) == "##"


def test_what_waits_too_long_is_played() -> None:
    player = CushionPlayer()
    player.brings(1)
    player.plays(2)
    player.brings(1.5)
    waited = player.plays(int(MAX_WAIT_S * 50) + 4)
    assert waited.startswith("-" * int(MAX_WAIT_S * 50 - 1))
    assert waited.strip("-") == "##f"
    assert player.playout.played(A) == int(2.5 * FRAME)


def test_a_stall_is_one_under_run_however_long() -> None:
    player = CushionPlayer()
    player.brings(1.5)
    assert player.plays(60).count("#") == 2
    assert player.playout.underruns == 1


def test_the_next_item_needs_no_cushion_because_the_one_before_did() -> None:
    player = CushionPlayer()
    player.brings(1)
    player.plays(3)
    player.brings(0, end=True)
    player.playout.queue_audio(B, 0, b"\x00\x10" * FRAME, end=False, now=player.now)
    assert player.plays(1) == "#"


def test_the_audio_of_a_cut_item_is_let_go() -> None:
    player = CushionPlayer()
    player.brings(5)
    player.plays(1)
    player.playout.cut()
    assert player.plays(2) == "f-"


def late_chunks(seed: int, *, jitter_s: float, chunk: float, seconds: int) -> CushionPlayer:
    """A provider at real time whose chunks are late by chance."""
    rng = random.Random(seed)  # noqa: S311 - a drawing, not a secret
    player = CushionPlayer()
    count = int(seconds * 50 / chunk)
    due = [n * chunk / 50 + abs(rng.gauss(0, jitter_s)) for n in range(count)]
    brought = 0
    while brought < count or player.playout.pullable:
        while brought < count and due[brought] <= player.now:
            player.brings(chunk, end=brought == count - 1)
            brought += 1
        player.plays(1)
    return player


def test_a_provider_at_real_time_with_jitter_is_soon_played_without_gaps() -> None:
    for seed in range(5):
        player = late_chunks(seed, jitter_s=0.02, chunk=1.0, seconds=20)
        assert player.playout.underruns <= 3
        assert player.playout.played(A) == 20 * DOWN_HZ


def test_jitter_does_not_make_an_answer_drift() -> None:
    player = late_chunks(1, jitter_s=0.02, chunk=2.5, seconds=20)
    assert player.now < 20 + 2 * CUSHION_SAMPLES / DOWN_HZ + 0.1
