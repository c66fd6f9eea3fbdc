from services.media.core.network.rate_limiter import RateLimiter, RateLimiterConfig, Verdict

CONFIG = RateLimiterConfig(per_s=10, burst=20, patience_s=3)


def judged(limiter: RateLimiter, count: int, *, now: float) -> list[Verdict]:
    return [limiter.check(now=now) for _ in range(count)]


def test_a_burst_is_taken_and_the_rest_dropped() -> None:
    limiter = RateLimiter(CONFIG)
    assert judged(limiter, 22, now=100) == [Verdict.ACCEPT] * 20 + [Verdict.DROP] * 2


def test_who_does_not_stop_is_a_flood() -> None:
    limiter = RateLimiter(CONFIG)
    for tenth in range(30):
        assert Verdict.FLOOD not in judged(limiter, 30, now=100 + tenth / 10)
    assert judged(limiter, 30, now=103.1)[-1] is Verdict.FLOOD


def test_bursts_with_pauses_are_no_flood() -> None:
    limiter = RateLimiter(CONFIG)
    for second in range(0, 60, 2):
        assert Verdict.FLOOD not in judged(limiter, 30, now=100.0 + second)


def test_who_cannot_be_known_is_never_hung_up() -> None:
    limiter = RateLimiter(RateLimiterConfig(per_s=1, burst=1, patience_s=float("inf")))
    assert Verdict.FLOOD not in [v for now in range(100, 200) for v in judged(limiter, 5, now=now)]


def test_what_costs_more_takes_more_out_of_the_bucket() -> None:
    limiter = RateLimiter(CONFIG)
    assert [limiter.check(now=100, cost=cost) for cost in (12, 9, 8, 0.5)] == [
        Verdict.ACCEPT,
        Verdict.DROP,
        Verdict.ACCEPT,
        Verdict.DROP,
    ]
