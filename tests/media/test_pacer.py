import pytest

from services.media.core.rtp.pacer import MediaClock, SlotSchedule, is_second


def turns(schedule: SlotSchedule[str], until_ms: int, *, start_ms: int = 0) -> list[tuple[float, str]]:
    """Return the members that were due and their times in ms, polling each millisecond."""
    out: list[tuple[float, str]] = []
    for ms in range(start_ms, until_ms + 1):
        while (turn := schedule.turn(now=ms / 1000 + 1e-6)) is not None:
            out += [(round(turn[0] * 1000, 1), member) for member in turn[1]]
    return out


def test_a_member_has_a_turn_every_20_ms() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    schedule.join("a")
    schedule.join("a")
    assert turns(schedule, 80) == [(0, "a"), (20, "a"), (40, "a"), (60, "a"), (80, "a")]


def test_who_joins_waits_for_the_next_slot_only() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    turns(schedule, 6)
    schedule.join("a")
    assert turns(schedule, 31, start_ms=7) == [(10, "a"), (30, "a")]


def test_members_that_spread_do_not_meet() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    for name in "abcdefgh":
        schedule.join(name, spread=True)
    dues = [due for due, _ in turns(schedule, 19)]
    assert sorted(dues) == [0, 0, 5, 5, 10, 10, 15, 15]
    assert len(schedule) == 8


def test_who_left_has_no_turn() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    schedule.join("a")
    schedule.leave("a")
    schedule.leave("a")
    assert turns(schedule, 100) == []
    assert len(schedule) == 0


def test_a_member_may_leave_in_its_turn() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    schedule.join("a")
    schedule.join("b")
    assert schedule.turn(now=0.0) == (0.0, ("a", "b"))
    schedule.leave("a")
    assert turns(schedule, 20, start_ms=1) == [(20, "b")]


def test_a_little_late_is_caught_up_in_order() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    schedule.join("a")
    assert turns(schedule, 90, start_ms=90) == [(0, "a"), (20, "a"), (40, "a"), (60, "a"), (80, "a")]


def test_after_a_stall_turns_are_skipped_instead_of_bursting() -> None:
    schedule: SlotSchedule[str] = SlotSchedule(now=0.0)
    schedule.join("a")
    assert turns(schedule, 15) == [(0, "a")]
    caught_up = turns(schedule, 535, start_ms=500)
    assert len(caught_up) == 2
    assert caught_up[1][0] - caught_up[0][0] == pytest.approx(20)


def stamps(*dues: float) -> list[tuple[int, bool]]:
    clock = MediaClock(hz=48_000, start=1000)
    out = []
    for due in dues:
        begins = clock.stamp_packet(due=due)
        out.append((clock.timestamp, begins))
    return out


def test_frames_in_a_row_are_20_ms_apart_and_only_the_first_begins() -> None:
    assert stamps(5.0, 5.02, 5.04) == [(1000, True), (1960, False), (2920, False)]


def test_a_pause_leaves_a_gap_just_as_long() -> None:
    assert stamps(5.0, 5.02, 6.02) == [(1000, True), (1960, False), (1960 + 48_000, True)]


def test_turns_that_were_skipped_leave_a_gap_too() -> None:
    assert stamps(5.0, 5.13) == [(1000, True), (1000 + 6240, True)]


def test_a_packet_of_two_frames_lasts_for_two_turns() -> None:
    clock = MediaClock(hz=48_000, start=1000)
    assert not clock.lasts(due=5.0)
    assert clock.stamp_packet(2, due=5.0)
    assert clock.lasts(due=5.02)
    assert not clock.lasts(due=5.04)
    assert not clock.stamp_packet(due=5.04)
    assert clock.timestamp == 1000 + 1920
    assert not clock.lasts(due=5.06)
    assert clock.stamp_packet(2, due=5.1)
    assert clock.timestamp == 1000 + 1920 + 2880


def test_every_second_turn_is_one_for_even_numbers_and_one_for_odd() -> None:
    turns = [is_second(7.005 + n * 0.02, number) for number in (4, 5) for n in range(4)]
    assert turns == [True, False, True, False, False, True, False, True]


def test_rtp_time_wraps() -> None:
    clock = MediaClock(hz=48_000, start=(1 << 32) - 960)
    clock.stamp_packet(due=1.0)
    clock.stamp_packet(due=1.02)
    assert clock.timestamp == 0
