import pytest

from services.media.core.truncation import EarDelay, HeardClock


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
