import random
from collections import Counter
from collections.abc import Sequence

from services.contracts.ids import ProcessId
from services.contracts.messages import Heartbeat
from services.contracts.turn_detection import TurnTerms
from services.signaling.core.placement import NoPlacement, Placement


class FirstTwo:
    def sample(self, population: Sequence[ProcessId], count: int, /) -> list[ProcessId]:
        return list(population[:count])


def beat(  # noqa: PLR0913 - the fields of a heartbeat, all by keyword
    name: str,
    *,
    active: int = 0,
    reserved: int = 0,
    draining: bool = False,
    zone: str = "",
    version: str = "0",
    lag_ms: float = 0,
    turns: TurnTerms | None = None,
) -> Heartbeat:
    return Heartbeat(
        process=ProcessId(name),
        zone=zone,
        version=version,
        draining=draining,
        active=active,
        reserved=reserved,
        capacity=10,
        loop_lag_ms=lag_ms,
        http_url="http://127.0.0.1:1",
        turns=turns,
    )


def choose(placement: Placement, *tried: str, now: float = 0.0) -> str:
    return str(placement.choose(FirstTwo(), tried={ProcessId(name) for name in tried}, now=now))


def of(*beats: Heartbeat, zone: str = "") -> Placement:
    placement = Placement(zone)
    for each in beats:
        placement.on_heartbeat(each, now=0.0)
    return placement


def test_the_emptier_of_two_wins() -> None:
    assert choose(of(beat("a", active=2), beat("b", reserved=1), beat("c"))) == "b"


def test_a_process_that_was_tried_is_not_asked_again() -> None:
    assert choose(of(beat("a"), beat("b")), "a") == "b"
    assert choose(of(beat("a")), "a") == NoPlacement.ALL_TRIED


def test_a_silent_process_is_not_asked_until_it_is_heard_again() -> None:
    placement = of(beat("a"))
    assert placement.fresh_processes(now=5.0) == 1
    assert choose(placement, now=5.0) == "a"
    assert placement.fresh_processes(now=5.1) == 0
    assert choose(placement, now=5.1) == NoPlacement.ALL_SILENT
    placement.on_heartbeat(beat("a"), now=6.0)
    assert choose(placement, now=6.0) == "a"


def test_a_process_long_silent_is_forgotten() -> None:
    placement = of(beat("a"))
    placement.on_heartbeat(beat("b"), now=61.0)
    assert placement.fresh_processes(now=0.0) == 1


def test_why_nobody_can_be_asked_is_told() -> None:
    assert choose(Placement()) == NoPlacement.NONE_KNOWN
    assert choose(of(beat("a", draining=True))) == NoPlacement.ALL_DRAINING
    assert choose(of(beat("a", active=8))) == NoPlacement.ALL_FULL


def test_turn_detection_is_bounded_by_the_strictest_of_the_processes_that_accept_calls() -> None:
    loose, strict = TurnTerms(max_silence_duration_ms=9000), TurnTerms(min_silence_duration_ms=300)
    both = TurnTerms(min_silence_duration_ms=300, max_silence_duration_ms=9000)
    assert of(beat("a", turns=loose), beat("b", turns=strict), beat("earlier release")).turn_terms(now=0.0) == both
    assert of(beat("a", turns=loose), beat("b", turns=strict, draining=True)).turn_terms(now=0.0) == loose


def test_without_such_a_process_the_bounds_of_turn_detection_are_not_known() -> None:
    assert Placement().turn_terms(now=0.0) is None
    assert of(beat("earlier release")).turn_terms(now=0.0) is None
    assert of(beat("a", turns=TurnTerms())).turn_terms(now=5.1) is None


def test_calls_placed_since_the_last_heartbeat_count() -> None:
    placement = of(beat("a"), beat("b"))
    assert Counter(choose(placement) for _ in range(16)) == {"a": 8, "b": 8}
    assert choose(placement) == NoPlacement.ALL_FULL
    placement.on_heartbeat(beat("a"), now=0.0)
    assert choose(placement) == "a"


def test_a_process_of_the_same_zone_wins_while_it_has_room() -> None:
    placement = of(beat("far", zone="b"), beat("near", zone="a", active=6), beat("nowhere"), zone="a")
    assert choose(placement) == "near"
    assert choose(placement) == "near"
    assert choose(placement) == "far"


def test_a_process_of_the_same_zone_that_was_tried_gives_way_to_other_zones() -> None:
    assert choose(of(beat("near", zone="a"), beat("far", zone="b"), zone="a"), "near") == "far"


def test_without_a_zone_of_its_own_signaling_places_anywhere() -> None:
    assert choose(of(beat("a", zone="a", active=1), beat("b", zone="b"))) == "b"


def test_a_process_whose_loop_wakes_late_is_asked_only_if_the_other_one_does_too() -> None:
    assert choose(of(beat("late", lag_ms=101), beat("busy", active=7))) == "busy"
    assert choose(of(beat("late", lag_ms=101), beat("later", active=1, lag_ms=500))) == "late"
    assert choose(of(beat("late", lag_ms=101))) == "late"


def test_a_process_is_reported_when_it_is_new_and_when_its_version_changes() -> None:
    placement = Placement()
    assert placement.on_heartbeat(beat("a"), now=0.0)
    assert not placement.on_heartbeat(beat("a", active=1), now=1.0)
    assert placement.on_heartbeat(beat("a", version="1"), now=2.0)


def test_random_choice_reaches_all() -> None:
    placement = of(*(beat(f"m-{n}") for n in range(5)))
    random_source = random.Random(1)  # noqa: S311 - chooses a process, protects nothing
    chosen = {placement.choose(random_source, tried=(), now=0.0) for _ in range(20)}
    assert len(chosen) == 5
