import pytest

from services.media.core.pacer import Pacer


def test_the_first_frame_goes_at_once_and_the_next_20_ms_later() -> None:
    pacer = Pacer()
    assert pacer.next_due(now=5.0) == 5.0
    assert pacer.take(now=5.0) == 0
    assert pacer.next_due(now=5.001) == pytest.approx(5.02)


def test_frames_that_leave_a_little_late_do_not_shift_the_clock() -> None:
    pacer = Pacer()
    pacer.take(now=0.0)
    assert pacer.take(now=0.035) == 480
    assert pacer.next_due(now=0.036) == pytest.approx(0.04)


def test_more_than_100_ms_late_skips_ahead_instead_of_bursting() -> None:
    pacer = Pacer()
    pacer.take(now=0.0)
    assert pacer.next_due(now=0.2) == 0.2
    assert pacer.take(now=0.2) == 4800
    assert pacer.next_due(now=0.2) == pytest.approx(0.22)


def test_after_a_pause_the_next_frame_goes_at_once_and_the_gap_shows_in_its_timestamp() -> None:
    pacer = Pacer()
    pacer.take(now=0.0)
    pacer.pause()
    assert pacer.next_due(now=1.0) == 1.0
    assert pacer.take(now=1.0) == 24_000
    assert pacer.take(now=1.02) == 24_480


def test_a_timestamp_never_stands_still() -> None:
    pacer = Pacer()
    pacer.take(now=0.0)
    pacer.pause()
    assert pacer.take(now=0.001) == 480
