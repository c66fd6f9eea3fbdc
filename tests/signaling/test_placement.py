import random
from collections import Counter
from collections.abc import Sequence

from services.contracts.ids import ProcessId
from services.contracts.messages import Heartbeat
from services.signaling.core.placement import NoPlace, Placement


class FirstTwo:
    def sample(self, population: Sequence[ProcessId], k: int) -> list[ProcessId]:
        return list(population[:k])


def beat(name: str, *, active: int = 0, reserved: int = 0, draining: bool = False) -> Heartbeat:
    return Heartbeat(
        process=ProcessId(name),
        version="0",
        draining=draining,
        active=active,
        reserved=reserved,
        capacity=10,
        loop_lag_ms=0,
        http_url="http://127.0.0.1:1",
    )


def choose(placement: Placement, *tried: str, now: float = 0.0) -> str:
    return str(placement.choose(FirstTwo(), tried={ProcessId(name) for name in tried}, now=now))


def of(*beats: Heartbeat) -> Placement:
    placement = Placement()
    for each in beats:
        placement.heard(each, now=0.0)
    return placement


def test_the_emptier_of_two_wins() -> None:
    assert choose(of(beat("a", active=2), beat("b", reserved=1), beat("c"))) == "b"


def test_a_process_that_was_tried_is_not_asked_again() -> None:
    assert choose(of(beat("a"), beat("b")), "a") == "b"
    assert choose(of(beat("a")), "a") == NoPlace.ALL_TRIED


def test_a_silent_process_is_not_asked_until_it_is_heard_again() -> None:
    placement = of(beat("a"))
    assert placement.fresh(now=5.0) == 1
    assert choose(placement, now=5.0) == "a"
    assert placement.fresh(now=5.1) == 0
    assert choose(placement, now=5.1) == NoPlace.ALL_SILENT
    placement.heard(beat("a"), now=6.0)
    assert choose(placement, now=6.0) == "a"


def test_a_process_long_silent_is_forgotten() -> None:
    placement = of(beat("a"))
    placement.heard(beat("b"), now=61.0)
    assert placement.fresh(now=0.0) == 1


def test_why_nobody_can_be_asked_is_told() -> None:
    assert choose(Placement()) == NoPlace.NONE_KNOWN
    assert choose(of(beat("a", draining=True))) == NoPlace.ALL_DRAINING
    assert choose(of(beat("a", active=8))) == NoPlace.ALL_FULL


def test_calls_placed_since_the_last_heartbeat_count() -> None:
    placement = of(beat("a"), beat("b"))
    assert Counter(choose(placement) for _ in range(16)) == {"a": 8, "b": 8}
    assert choose(placement) == NoPlace.ALL_FULL
    placement.heard(beat("a"), now=0.0)
    assert choose(placement) == "a"


def test_random_choice_reaches_all() -> None:
    placement = of(*(beat(f"m-{n}") for n in range(5)))
    dice = random.Random(1)  # noqa: S311 - chooses a process, protects nothing
    chosen = {placement.choose(dice, tried=(), now=0.0) for _ in range(20)}
    assert len(chosen) == 5
