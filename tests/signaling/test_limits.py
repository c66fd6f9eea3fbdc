"""The rate limiter's decisions: requests admitted, `Retry-After`, size of the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.signaling.core.limits import RequestBuckets, RequestRate, address_key, whole_seconds

RATES = st.builds(RequestRate, per_s=st.floats(0.01, 1000), burst=st.integers(1, 50))


def admitted(limiter: RequestBuckets, key: str, rate: RequestRate, *, now: float, tries: int) -> int:
    return sum(limiter.take(key, rate, now=now) == 0 for _ in range(tries))


@given(RATES, st.floats(0, 1e4), st.integers(0, 30))
def test_who_waits_as_long_as_it_is_told_comes_through_and_who_waits_less_does_not(
    rate: RequestRate, now: float, more: int
) -> None:
    limiter = RequestBuckets()
    admitted(limiter, "a", rate, now=now, tries=rate.burst + more)
    wait_s = limiter.take("a", rate, now=now)
    assert wait_s > 0
    assert limiter.take("a", rate, now=now + wait_s * 0.99) > 0
    assert limiter.take("a", rate, now=now + whole_seconds(wait_s)) == 0
    assert whole_seconds(wait_s) - wait_s < 1 or wait_s < 1


@pytest.mark.parametrize(("wait_s", "expected"), [(0.0001, 1), (1.0, 1), (1.0001, 2), (59.5, 60)])
def test_retry_after_is_never_too_early_and_never_nothing(wait_s: float, expected: int) -> None:
    assert whole_seconds(wait_s) == expected


def test_one_key_does_not_cost_another_anything() -> None:
    limiter, rate = RequestBuckets(), RequestRate(1, 3)
    assert admitted(limiter, "flood", rate, now=0, tries=1000) == 3
    assert admitted(limiter, "other", rate, now=0, tries=3) == 3


def test_a_smaller_rate_from_the_tenants_file_counts_at_once() -> None:
    limiter = RequestBuckets()
    assert admitted(limiter, "a", RequestRate(10, 100), now=0, tries=100) == 100
    assert limiter.take("a", RequestRate(1, 1), now=0) > 0


def test_a_million_addresses_take_no_more_memory_and_free_nobody_from_its_limit() -> None:
    limiter, rate = RequestBuckets(max_keys=100), RequestRate(1, 10)
    assert admitted(limiter, "guesses", rate, now=0, tries=20) == 10
    assert sum(limiter.take(f"address {n}", rate, now=0) == 0 for n in range(1_000_000)) == 99 + 10
    assert len(limiter) <= 101
    assert limiter.take("guesses", rate, now=0) > 0


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 2)), max_size=300))
def test_who_has_rested_is_forgotten_and_the_table_stays_within_its_bound(asked: list[tuple[int, float]]) -> None:
    limiter, rate, now = RequestBuckets(max_keys=20), RequestRate(2, 3), 0.0
    for key, pause in asked:
        now += pause
        limiter.take(str(key), rate, now=now)
        assert len(limiter) <= 21
    limiter.take("last", rate, now=now + 3600)
    assert len(limiter) == 1


@pytest.mark.parametrize(
    ("hosts", "key"),
    [
        (("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"), "192.0.2.1"),
        (("2001:db8:1:2::1", "2001:db8:1:2:ffff::", "2001:DB8:1:2::1%eth0"), "2001:db8:1:2::/64"),
        (("::1",), "::/64"),
        ((None, "", "testclient", "1.2.3", "[::1]"), "none"),
    ],
)
def test_an_address_is_an_ipv4_address_or_a_customers_network(hosts: tuple[str | None, ...], key: str) -> None:
    assert {address_key(host) for host in hosts} == {key}
