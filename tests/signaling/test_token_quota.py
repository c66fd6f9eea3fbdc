"""The share of the token store that one tenant can fill."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.ids import TenantId
from services.signaling.core.limits import Limited
from services.signaling.core.token_quota import DEFAULT_RETRY_S, LiveTokens, QuotaExceeded, TokenQuota, share

ACME, OTHER = TenantId("acme"), TenantId("other")
ANY = TokenQuota(tokens=10**9, room=10**9)


def flood(tenants: list[TenantId], sizes: list[int], *, bound: int) -> tuple[LiveTokens, int]:
    """Mint for all tenants in turn until all are refused."""
    live, used, number, refused = LiveTokens(), 0, 0, 0
    while refused < len(tenants) * len(sizes):
        tenant, size = tenants[number % len(tenants)], sizes[number % len(sizes)]
        allowed = TokenQuota(tokens=10**9, room=share(bound=bound, used=used))
        if live.reserve(tenant, str(number), size, allowed=allowed, now=0, end=60) is None:
            used, refused = used + size, 0
        else:
            refused += 1
        number += 1
    return live, used


@given(st.integers(1, 12), st.lists(st.integers(2000, 20_000), min_size=1, max_size=4))
def test_whoever_floods_there_is_room_for_one_more_tenant(count: int, sizes: list[int]) -> None:
    bound = 1024 * 1024
    tenants = [TenantId(f"t{n}") for n in range(count)]
    live, used = flood(tenants, sizes, bound=bound)
    one_each = count * max(sizes)
    assert used <= bound * (1 - (2 / 3) ** count) + one_each
    assert all(live.of(tenant)[1] <= bound / 3 + max(sizes) for tenant in tenants)
    free = bound - used
    newcomer = live.reserve(OTHER, "x", free // 2, allowed=TokenQuota(1, share(bound=bound, used=used)), now=0, end=60)
    assert newcomer is None


@pytest.mark.parametrize("used", [100, 101, 10**9])
def test_of_a_full_bucket_nobody_gets_anything(used: int) -> None:
    assert share(bound=100, used=used) == 0
    refused = LiveTokens().reserve(ACME, "a", 1, allowed=TokenQuota(10, 0), now=0, end=60)
    assert refused == QuotaExceeded(Limited.TOKEN_BYTES, DEFAULT_RETRY_S)


def test_tokens_that_expire_make_room_when_it_was_said() -> None:
    live, allowed = LiveTokens(), TokenQuota(tokens=2, room=10**6)
    assert live.reserve(ACME, "a", 10, allowed=allowed, now=0, end=60) is None
    assert live.reserve(ACME, "b", 10, allowed=allowed, now=10, end=70) is None
    assert live.reserve(ACME, "c", 10, allowed=allowed, now=20, end=80) == QuotaExceeded(Limited.LIVE_TOKENS, 40)
    assert live.reserve(OTHER, "d", 10, allowed=allowed, now=20, end=80) is None
    assert live.reserve(ACME, "c", 10, allowed=allowed, now=60, end=120) is None
    assert live.of(ACME) == (2, 20)


def test_bytes_that_expire_make_room_when_it_was_said() -> None:
    live, allowed = LiveTokens(), TokenQuota(tokens=100, room=100)
    assert live.reserve(ACME, "a", 90, allowed=allowed, now=0, end=60) is None
    assert live.reserve(ACME, "b", 11, allowed=allowed, now=1, end=61) == QuotaExceeded(Limited.TOKEN_BYTES, 59)
    assert live.reserve(ACME, "b", 11, allowed=allowed, now=60, end=120) is None


def test_a_redeemed_token_makes_room_and_an_unknown_one_does_not() -> None:
    live, allowed = LiveTokens(), TokenQuota(tokens=1, room=100)
    assert live.reserve(ACME, "a", 10, allowed=allowed, now=0, end=60) is None
    for tenant, key in ((ACME, "of another process"), (OTHER, "a")):
        live.release(tenant, key)
    assert live.of(ACME) == (1, 10)
    live.release(ACME, "a")
    live.release(ACME, "a")
    assert live.of(ACME) == (0, 0)
    assert live.of(OTHER) == (0, 0)
    assert live.reserve(ACME, "b", 10, allowed=allowed, now=0, end=60) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.floats(0, 30)), max_size=200))
def test_what_is_counted_is_what_is_held(steps: list[tuple[bool, int, float]]) -> None:
    live, held, now = LiveTokens(), dict[str, tuple[float, int]](), 0.0
    for number, (redeems, size, pause) in enumerate(steps):
        now += pause
        held = {key: entry for key, entry in held.items() if entry[0] > now}
        if redeems and held:
            key = min(held)
            del held[key]
            live.release(ACME, key)
        assert live.reserve(ACME, str(number), size, allowed=ANY, now=now, end=now + 60) is None
        held[str(number)] = (now + 60, size)
        assert live.of(ACME) == (len(held), sum(each for _, each in held.values()))


def test_what_was_redeemed_long_before_its_end_is_not_waited_for() -> None:
    live, most = LiveTokens(), TokenQuota(tokens=10, room=10**6)
    assert live.reserve(ACME, "first", 1, allowed=ANY, now=0, end=50) is None
    for number in range(100):
        assert live.reserve(ACME, str(number), 1, allowed=ANY, now=0, end=60 + number) is None
        if number < 91:
            live.release(ACME, str(number))
    assert live.of(ACME) == (10, 10)
    assert live.reserve(ACME, "more", 1, allowed=most, now=0, end=60) == QuotaExceeded(Limited.LIVE_TOKENS, 50)
    assert live.reserve(ACME, "more", 1, allowed=most, now=50, end=60) is None
    assert live.reserve(ACME, "too many", 1, allowed=most, now=51, end=70) == QuotaExceeded(Limited.LIVE_TOKENS, 9)
    assert live.reserve(ACME, "again", 1, allowed=most, now=60, end=70) is None
    assert live.reserve(ACME, "too many", 1, allowed=most, now=60, end=70) == QuotaExceeded(Limited.LIVE_TOKENS, 10)
    assert live.reserve(ACME, "at the end", 1, allowed=most, now=151, end=160) is None
