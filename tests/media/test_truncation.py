import pytest

from services.media.core.conversation.truncation import MAX_RUNS, EarDelay, HeardClock


def play(clock: HeardClock, frames: int, *, start: int = 0, at: float = 0.0) -> None:
    for n in range(frames):
        clock.played((start + n) * 480, (start + n + 1) * 480, now=at + n * 0.02)


def test_heard_is_what_left_less_the_ear_delay() -> None:
    clock = HeardClock()
    play(clock, 5)
    assert clock.heard_ms(now=0.1, ear_delay_ms=60) == 40


def test_heard_is_never_negative() -> None:
    clock = HeardClock()
    play(clock, 1)
    assert clock.heard_ms(now=0.02, ear_delay_ms=60) == 0


def test_heard_is_never_more_than_left() -> None:
    clock = HeardClock()
    play(clock, 5)
    assert clock.heard_ms(now=60.0, ear_delay_ms=60) == 100


def test_after_an_under_run_all_that_left_was_heard() -> None:
    clock = HeardClock()
    play(clock, 5)
    play(clock, 2, start=5, at=10.0)
    assert clock.heard_ms(now=10.04, ear_delay_ms=60) == 100


def test_another_item_begins_at_nothing() -> None:
    clock = HeardClock()
    play(clock, 5)
    clock.started()
    assert clock.heard_ms(now=9.0, ear_delay_ms=0) == 0


@pytest.mark.parametrize(("round_trip_ms", "delay_ms"), [(0, 60), (50, 85), (-5, 60), (99_999, 560)])
def test_the_ear_delay_is_half_a_round_trip_and_a_buffer(round_trip_ms: int, delay_ms: int) -> None:
    ear = EarDelay()
    ear.measured(round_trip_ms=round_trip_ms)
    assert ear.ms == delay_ms


def test_a_client_that_reports_its_buffer_is_believed_within_bounds() -> None:
    ear = EarDelay()
    ear.reported(buffer_ms=100, round_trip_ms=40)
    assert ear.ms == 120
    ear.reported(buffer_ms=30)
    assert ear.ms == 50
    ear.reported(buffer_ms=30, playout_ms=25)
    assert ear.ms == 75
    ear.reported(buffer_ms=10**9)
    assert ear.ms == 1000


def test_frames_that_leave_a_little_beside_the_pace_are_one_run() -> None:
    clock = HeardClock()
    for n, late_s in enumerate((0.0, 0.004, -0.003, 0.008, 0.0)):
        clock.played(n * 480, (n + 1) * 480, now=n * 0.02 + late_s)
    assert clock.heard_ms(now=0.1, ear_delay_ms=60) == 40


def test_what_left_after_a_stall_of_the_pace_is_heard_later() -> None:
    clock = HeardClock()
    play(clock, 3)
    play(clock, 3, start=3, at=1.0)
    assert clock.heard_ms(now=1.06, ear_delay_ms=60) == 60
    assert clock.heard_ms(now=1.08, ear_delay_ms=60) == 80


def test_what_left_after_the_last_sign_of_a_lost_client_was_not_heard() -> None:
    clock = HeardClock()
    play(clock, 100)
    clock.lost(since=1.0)
    assert clock.heard_ms(now=9.0, ear_delay_ms=60) == 1000


def test_all_runs_that_began_after_the_last_sign_were_not_heard() -> None:
    clock = HeardClock()
    play(clock, 5)
    play(clock, 5, start=5, at=3.0)
    clock.lost(since=0.05)
    assert clock.heard_ms(now=9.0, ear_delay_ms=60) == 50


def test_an_item_that_only_nobody_heard_was_not_heard() -> None:
    clock = HeardClock()
    play(clock, 5, at=2.0)
    clock.lost(since=1.0)
    assert clock.heard_ms(now=9.0, ear_delay_ms=60) == 0


def test_what_a_client_hears_that_is_back_counts_again() -> None:
    clock = HeardClock()
    play(clock, 100)
    clock.lost(since=1.0)
    play(clock, 10, start=100, at=5.0)
    assert clock.heard_ms(now=5.05, ear_delay_ms=60) == 1000
    assert clock.heard_ms(now=5.10, ear_delay_ms=60) == 2040


def test_only_so_many_runs_are_remembered_and_the_others_were_heard() -> None:
    clock = HeardClock()
    for n in range(MAX_RUNS + 3):
        clock.played(n * 480, (n + 1) * 480, now=n * 0.1)
    clock.lost(since=0.0)
    assert clock.heard_ms(now=99.0, ear_delay_ms=0) == 60
