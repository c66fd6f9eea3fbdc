"""A bucket never allows more than its burst and its rate, and its waits are exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.core.token_bucket import TokenBucket

EARLY = 0.01
RATES = st.floats(0.01, 1000)
BURSTS = st.integers(1, 50)
TIMES = st.floats(0, 1e6)


def taken(bucket: TokenBucket, *, now: float, tries: int) -> int:
    return sum(bucket.take(now=now) == 0 for _ in range(tries))


@given(RATES, BURSTS, TIMES)
def test_a_burst_is_given_at_once_and_not_one_more(per_s: float, burst: int, now: float) -> None:
    assert taken(TokenBucket(per_s, burst), now=now, tries=2 * burst) == burst


@given(RATES, BURSTS, st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 1)), min_size=1, max_size=60))
def test_in_no_time_is_more_given_than_the_burst_and_the_rate(
    per_s: float, burst: int, asked: list[tuple[float, float]]
) -> None:
    bucket, now = TokenBucket(per_s, burst), 0.0
    given: list[tuple[float, float]] = []
    for pause, cost in asked:
        now += pause
        given += [(now, cost) for _ in range(5) if not bucket.take(now=now, cost=cost)]
    for first, (began, _) in enumerate(given):
        sum_of_costs = 0.0
        for ended, cost in given[first:]:
            sum_of_costs += cost
            assert sum_of_costs <= burst + (ended - began) * per_s + EARLY


@given(RATES, BURSTS, TIMES, st.integers(0, 30))
def test_the_returned_wait_is_necessary_and_sufficient(per_s: float, burst: int, now: float, more: int) -> None:
    bucket = TokenBucket(per_s, burst)
    taken(bucket, now=now, tries=burst + more)
    wait_s = bucket.take(now=now)
    assert wait_s == pytest.approx(1 / per_s, rel=0.01)
    assert bucket.take(now=now + wait_s * 0.98) > 0
    assert bucket.take(now=now + wait_s) == 0


@given(RATES, BURSTS, TIMES, st.lists(st.floats(0.01, 1), max_size=20))
def test_what_is_left_is_what_was_not_taken(per_s: float, burst: int, now: float, costs: list[float]) -> None:
    bucket = TokenBucket(per_s, burst)
    spent = sum(cost for cost in costs if not bucket.take(now=now, cost=cost))
    assert bucket.left(now=now) == pytest.approx(burst - spent, abs=EARLY)
    assert bucket.left(now=now + burst / per_s + 1) == burst


def test_what_costs_more_than_is_left_takes_nothing() -> None:
    bucket = TokenBucket(10, 20)
    assert [bucket.take(now=100, cost=cost) == 0 for cost in (12, 9, 8, 0.5)] == [True, False, True, False]


def test_a_smaller_rate_counts_at_once() -> None:
    bucket = TokenBucket(10, 100)
    assert taken(bucket, now=0, tries=100) == 100
    bucket.per_s, bucket.burst = 1, 1
    assert bucket.take(now=0) > 0
