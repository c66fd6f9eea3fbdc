"""What one worker takes of a tenant's minute before the others know."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upstream.core.minute_use import SLOT_MS, SLOTS, Charge, MinuteUse
from services.upstream.core.tenant_use import FRESH_MS, TenantUse

NOW = 1_000_000
SLOT = NOW // SLOT_MS


def known(used: int, *, at: int = NOW) -> TenantUse:
    """Return a copy of a tenant's use that was read at ``at``."""
    shared = MinuteUse()
    shared.take([Charge("responses", used, 0, forced=True)], now_ms=at)
    use = TenantUse()
    use.on_read(shared, now_ms=at)
    return use


@pytest.mark.parametrize(
    ("used", "amount", "is_alone"),
    [(0, 1, True), (499, 1, True), (500, 1, False), (0, 20, True), (0, 21, False), (500, -1, True), (1000, -1, False)],
)
def test_a_worker_takes_alone_a_fiftieth_of_a_limit_of_which_half_is_left(
    used: int,
    amount: int,
    is_alone: bool,  # noqa: FBT001 - drawn
) -> None:
    use = known(used)
    assert use.take_alone([Charge("responses", amount, 1000)], now_ms=NOW) is is_alone
    assert use.is_booked(now_ms=NOW) is not is_alone


@pytest.mark.parametrize(("later_ms", "is_alone"), [(FRESH_MS - 1, True), (FRESH_MS, False), (-1, False)])
def test_what_was_read_long_ago_does_not_decide(later_ms: int, is_alone: bool) -> None:  # noqa: FBT001 - drawn
    use = known(0)
    assert use.take_alone([Charge("responses", 1, 1000)], now_ms=NOW + later_ms) is is_alone


def test_nothing_is_taken_if_one_limit_is_near() -> None:
    use = known(0)
    assert not use.take_alone([Charge("responses", 1, 1000), Charge("input_tokens", 1, 1)], now_ms=NOW)
    assert use.is_booked(now_ms=NOW)
    assert use.take_alone([Charge("responses", 1, 1000), Charge("input_tokens", 0, 100)], now_ms=NOW)
    assert use.pop_unbooked(now_ms=NOW) == {"responses": {SLOT: 1}}


def test_what_is_taken_while_the_bucket_is_told_is_kept_for_the_next_time() -> None:
    use = known(0)
    assert use.take_alone([Charge("responses", 5, 1000)], now_ms=NOW)
    assert use.pop_unbooked(now_ms=NOW) == {"responses": {SLOT: 5}}
    assert use.take_alone([Charge("responses", 3, 1000)], now_ms=NOW)
    shared = MinuteUse()
    shared.take([Charge("responses", 105, 0, forced=True)], now_ms=NOW)
    use.on_read(shared, now_ms=NOW)
    assert left_of(use, 200) == 92
    assert use.pop_unbooked(now_ms=NOW) == {"responses": {SLOT: 3}}


def left_of(use: TenantUse, limit: int, *, now_ms: int = NOW) -> int:
    """Return what is left of a limit by what is known, without taking it."""
    return next(n for n in range(limit + 1) if is_refused(use, Charge("responses", n + 1, limit), now_ms))


def is_refused(use: TenantUse, charge: Charge, now_ms: int) -> bool:
    return copy.deepcopy(use).take_cut_off([charge], now_ms=now_ms) is not None


def test_a_bucket_that_has_not_answered_is_not_asked_for_a_while() -> None:
    use = known(7)
    assert use.cut_off_ms(now_ms=NOW) == 0
    use.on_unanswered(now_ms=NOW)
    assert [use.cut_off_ms(now_ms=NOW + ms) for ms in (0, FRESH_MS - 1, FRESH_MS)] == [FRESH_MS, 1, 0]
    assert use.cut_off_ms(now_ms=NOW - 60_000) == FRESH_MS
    assert left_of(use, 10) == 3
    use.on_read(MinuteUse(), now_ms=NOW)
    assert use.cut_off_ms(now_ms=NOW) == 0


def test_what_is_refused_without_the_bucket_is_not_booked() -> None:
    use = known(7)
    assert use.take_cut_off([Charge("responses", 4, 10)], now_ms=NOW) is not None
    assert use.is_booked(now_ms=NOW)


def test_what_a_failed_booking_held_is_booked_with_what_is_taken_meanwhile() -> None:
    use = known(0)
    assert use.take_alone([Charge("responses", 20, 1000)], now_ms=NOW)
    use.pop_unbooked(now_ms=NOW)
    assert not use.is_booked(now_ms=NOW)
    use.on_unanswered(now_ms=NOW)
    assert use.take_cut_off([Charge("responses", 900, 1000)], now_ms=NOW) is None
    assert use.take_cut_off([Charge("responses", -10, 1000, forced=True)], now_ms=NOW + SLOT_MS) is None
    shared = MinuteUse()
    later = NOW + SLOT_MS
    shared.merge(use.pop_unbooked(now_ms=later), now_ms=later)
    use.on_read(shared, now_ms=later)
    assert use.is_booked(now_ms=later)
    assert left_of(use, 1000, now_ms=later) == 90
    assert left_of(use, 1000, now_ms=(SLOT + SLOTS) * SLOT_MS) == 1000


STEP = st.tuples(st.sampled_from([0, 100, SLOT_MS, 20_000, 61_000]), st.integers(0, 6), st.booleans())
"""The milliseconds since the step before, what is wanted, and whether the bucket answers if it is told then."""


@given(limit=st.integers(1, 400), steps=st.lists(STEP, max_size=60))
def test_an_outage_of_the_bucket_forgets_nothing_and_moves_nothing_into_another_minute(
    limit: int, steps: list[tuple[int, int, bool]]
) -> None:
    use, bucket, now_ms = known(0), MinuteUse(), NOW
    model: dict[int, int] = {}
    for wait_ms, wanted, answers in steps:
        now_ms += wait_ms
        charge = Charge("responses", wanted, limit)
        if use.take_alone([charge], now_ms=now_ms) or use.take_cut_off([charge], now_ms=now_ms) is None:
            model[now_ms // SLOT_MS] = model.get(now_ms // SLOT_MS, 0) + wanted
        told = use.pop_unbooked(now_ms=now_ms)
        if answers:
            bucket.merge(told, now_ms=now_ms)
            use.on_read(MinuteUse.decode(bucket.encode()), now_ms=now_ms)
        else:
            use.on_unanswered(now_ms=now_ms)
    bucket.merge(use.pop_unbooked(now_ms=now_ms), now_ms=now_ms)
    for later in range(0, 70_000, SLOT_MS):
        at = now_ms + later
        counted = sum(n for slot, n in model.items() if slot > at // SLOT_MS - SLOTS)
        assert bucket.used("responses", now_ms=at) == counted
        assert counted <= limit


@given(limit=st.integers(1, 2000), workers=st.integers(1, 5), wanted=st.lists(st.integers(0, 4), max_size=300))
def test_workers_that_never_tell_each_other_take_a_fiftieth_each_beyond_what_they_have_read(
    limit: int, workers: int, wanted: list[int]
) -> None:
    uses = [known(0) for _ in range(workers)]
    taken = 0
    for number in wanted:
        taken += uses[number % workers].take_alone([Charge("responses", 1, limit)], now_ms=NOW)
    assert taken <= workers * (limit // 50)
