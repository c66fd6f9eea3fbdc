from services.media.core.police import Police, PoliceConfig, Verdict

CONFIG = PoliceConfig(per_s=10, burst=20, patience_s=3)


def judged(police: Police, count: int, *, now: float) -> list[Verdict]:
    return [police.check(now=now) for _ in range(count)]


def test_a_burst_is_taken_and_the_rest_dropped() -> None:
    police = Police(CONFIG)
    assert judged(police, 22, now=100) == [Verdict.TAKE] * 20 + [Verdict.DROP] * 2


def test_the_bucket_fills_with_time_and_never_over() -> None:
    police = Police(CONFIG)
    judged(police, 20, now=100)
    assert judged(police, 6, now=100.5) == [Verdict.TAKE] * 5 + [Verdict.DROP]
    assert judged(police, 21, now=200) == [Verdict.TAKE] * 20 + [Verdict.DROP]


def test_who_does_not_stop_is_a_flood() -> None:
    police = Police(CONFIG)
    for tenth in range(30):
        assert Verdict.FLOOD not in judged(police, 30, now=100 + tenth / 10)
    assert judged(police, 30, now=103.1)[-1] is Verdict.FLOOD


def test_bursts_with_pauses_are_no_flood() -> None:
    police = Police(CONFIG)
    for second in range(0, 60, 2):
        assert Verdict.FLOOD not in judged(police, 30, now=100.0 + second)


def test_who_cannot_be_known_is_never_hung_up() -> None:
    police = Police(PoliceConfig(per_s=1, burst=1, patience_s=float("inf")))
    assert Verdict.FLOOD not in [v for now in range(100, 200) for v in judged(police, 5, now=now)]


def test_what_costs_more_takes_more_out_of_the_bucket() -> None:
    police = Police(CONFIG)
    assert [police.check(now=100, cost=cost) for cost in (12, 9, 8, 0.5)] == [
        Verdict.TAKE,
        Verdict.DROP,
        Verdict.TAKE,
        Verdict.DROP,
    ]
