"""What one worker takes of a tenant's minute before the others know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upstream.core.minute_use import Charge, MinuteUse
from services.upstream.core.tenant_use import FRESH_MS, TenantUse

NOW = 1_000_000


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
    assert use.is_booked is not is_alone


@pytest.mark.parametrize(("later_ms", "is_alone"), [(FRESH_MS - 1, True), (FRESH_MS, False), (-1, False)])
def test_what_was_read_long_ago_does_not_decide(later_ms: int, is_alone: bool) -> None:  # noqa: FBT001 - drawn
    use = known(0)
    assert use.take_alone([Charge("responses", 1, 1000)], now_ms=NOW + later_ms) is is_alone


def test_nothing_is_taken_if_one_limit_is_near() -> None:
    use = known(0)
    assert not use.take_alone([Charge("responses", 1, 1000), Charge("input_tokens", 1, 1)], now_ms=NOW)
    assert use.is_booked
    assert use.take_alone([Charge("responses", 1, 1000), Charge("input_tokens", 0, 100)], now_ms=NOW)
    assert use.pop_unbooked() == (Charge("responses", 1, 0, forced=True),)


def test_what_is_taken_while_the_bucket_is_told_is_kept_for_the_next_time() -> None:
    use = known(0)
    assert use.take_alone([Charge("responses", 5, 1000)], now_ms=NOW)
    assert [charge.amount for charge in use.pop_unbooked()] == [5]
    assert use.take_alone([Charge("responses", 3, 1000)], now_ms=NOW)
    shared = MinuteUse()
    shared.take([Charge("responses", 105, 0, forced=True)], now_ms=NOW)
    use.on_read(shared, now_ms=NOW)
    assert use.on_unanswered(now_ms=NOW).used("responses", now_ms=NOW) == 108
    assert [charge.amount for charge in use.pop_unbooked()] == [3]


def test_a_bucket_that_has_not_answered_is_not_asked_for_a_while() -> None:
    use = known(7)
    assert use.without_bucket(now_ms=NOW) is None
    use.on_unanswered(now_ms=NOW)
    assert use.without_bucket(now_ms=NOW + FRESH_MS) is None
    cut_off = use.without_bucket(now_ms=NOW + FRESH_MS - 1)
    assert cut_off is not None
    assert cut_off.used("responses", now_ms=NOW) == 7


@given(limit=st.integers(1, 2000), workers=st.integers(1, 5), wanted=st.lists(st.integers(0, 4), max_size=300))
def test_workers_that_never_tell_each_other_take_a_fiftieth_each_beyond_what_they_have_read(
    limit: int, workers: int, wanted: list[int]
) -> None:
    uses = [known(0) for _ in range(workers)]
    taken = 0
    for number in wanted:
        taken += uses[number % workers].take_alone([Charge("responses", 1, limit)], now_ms=NOW)
    assert taken <= workers * (limit // 50)
