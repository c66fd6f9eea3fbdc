"""No sixty seconds have more than the limit, whoever shares it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.grant import MinuteLimits
from services.upstream.core.minute_use import SLOT_MS, Charge, MinuteUse, RateExceeded, charges

STEP = st.tuples(st.integers(0, 2), st.integers(0, 20_000), st.integers(1, 3))
"""A worker, the milliseconds since the step before, and what it takes."""


@given(st.integers(1, 12), st.lists(STEP, max_size=80), st.data())
def test_workers_that_share_an_entry_never_exceed_the_limit_in_any_sixty_seconds(
    limit: int, steps: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    entry, revision, now_ms = MinuteUse().encode(), 0, 1_000_000
    read: dict[int, tuple[bytes, int]] = {}
    taken: list[tuple[int, int]] = []
    for worker, wait_ms, amount in steps:
        now_ms += wait_ms
        seen, seen_revision = read.pop(worker, (entry, revision))
        if data.draw(st.booleans()):  # another one updates the entry between this one's read and its update
            read[(worker + 1) % 3] = (entry, revision)
        use = MinuteUse.decode(seen)
        if use.take([Charge("responses", amount, limit)], now_ms=now_ms) is None and seen_revision == revision:
            entry, revision = use.encode(), revision + 1
            taken.append((now_ms, amount))
    for start, _ in taken:
        assert sum(amount for at, amount in taken if start <= at < start + 60_000) <= limit


@given(st.integers(1, 5), st.lists(st.integers(0, 30_000), min_size=1, max_size=30))
def test_after_the_wait_that_a_refusal_names_there_is_room(limit: int, waits: list[int]) -> None:
    use, now_ms = MinuteUse(), 0
    for wait_ms in waits:
        now_ms += wait_ms
        refused = use.take([Charge("responses", 1, limit)], now_ms=now_ms)
        if refused is not None:
            assert 0 < refused.wait_s <= 65
            now_ms += round(refused.wait_s * 1000)
            assert use.take([Charge("responses", 1, limit)], now_ms=now_ms) is None


def test_all_is_taken_or_nothing() -> None:
    use = MinuteUse()
    assert use.take([Charge("input_tokens", 10, 5, forced=True)], now_ms=0) is None
    both = [Charge("responses", 1, 1), Charge("input_tokens", 0, 5)]
    assert use.take(both, now_ms=0) == RateExceeded("input_tokens", 5, 65.0)
    assert use.take([Charge("responses", 1, 1)], now_ms=0) is None


def test_what_is_given_back_was_taken_last() -> None:
    use = MinuteUse()
    use.take([Charge("audio_seconds", 3, 10)], now_ms=0)
    use.take([Charge("audio_seconds", 3, 10)], now_ms=SLOT_MS)
    use.take([Charge("audio_seconds", -4, 10, forced=True)], now_ms=2 * SLOT_MS)
    use.take([Charge("audio_seconds", 8, 10)], now_ms=2 * SLOT_MS)
    assert use.encode() == b'{"audio_seconds":{"0":2,"2":8}}'
    use.take([Charge("audio_seconds", -99, 10, forced=True)], now_ms=2 * SLOT_MS)
    assert use.encode() == b'{"audio_seconds":{}}'


def test_more_than_the_limit_at_once_never_has_room() -> None:
    use = MinuteUse()
    use.take([Charge("audio_seconds", 1, 5)], now_ms=0)
    assert use.take([Charge("audio_seconds", 6, 5)], now_ms=0) == RateExceeded("audio_seconds", 5, 65.0)


def test_only_kinds_with_a_limit_are_charged_and_audio_in_milliseconds() -> None:
    limits = MinuteLimits(audio_seconds_per_min=2)
    assert charges(limits, {"responses": 1, "audio_seconds": 40}) == (Charge("audio_seconds", 40, 2000),)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"money":{}}', b'{"responses":{"a":1}}'])
def test_an_entry_of_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        MinuteUse.decode(data)
