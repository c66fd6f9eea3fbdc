from itertools import groupby

import pytest

from tests.network.fate import Blackout, Burst, Conditions, Drop, Fate, ImpairedDirection, Pass, lane
from tests.network.flight import InFlight

RTP, RTCP, STUN = (first + bytes(10) for first in (b"\x80\x6f", b"\x80\xc8", b"\x00\x01"))
FRAME_S = 0.02


def send(conditions: Conditions, datagrams: int, *, seed: str = "seed", datagram: bytes = RTP) -> list[Fate]:
    way = ImpairedDirection(seed, conditions)
    return [way.decide(datagram, now=number * FRAME_S) for number in range(datagrams)]


def drawing(fates: list[Fate]) -> str:
    return "".join("x" if isinstance(fate, Drop) else "." for fate in fates)


def arrivals(fates: list[Fate]) -> list[float]:
    return [fate.at for fate in fates if isinstance(fate, Pass)]


def test_a_clean_network_delivers_at_once() -> None:
    assert send(Conditions(), 3) == [Pass(0.0), Pass(FRAME_S), Pass(2 * FRAME_S)]


def test_the_same_seed_gives_the_same_fates() -> None:
    bad = Conditions(10, 30, keeps_order=False, loss=0.2, burst=Burst.of(loss=0.1, length=4), reorder=0.1)
    assert send(bad, 500) == send(bad, 500)
    assert send(bad, 500) != send(bad, 500, seed="another")


def test_more_loss_loses_what_less_loss_lost_and_more() -> None:
    some, more = (drawing(send(Conditions(loss=loss), 2000)) for loss in (0.05, 0.2))
    assert all(b == "x" for a, b in zip(some, more, strict=True) if a == "x")
    assert some.count("x") == pytest.approx(100, abs=30)
    assert more.count("x") == pytest.approx(400, abs=60)


def test_jitter_does_not_change_what_is_lost() -> None:
    assert drawing(send(Conditions(loss=0.1), 500)) == drawing(send(Conditions(loss=0.1, jitter_ms=100), 500))


def test_checks_in_between_do_not_change_what_media_is_lost() -> None:
    way = ImpairedDirection("seed", Conditions(loss=0.1))
    fates = []
    for number in range(300):
        way.decide(STUN if number % 3 else RTCP, now=0.0)
        fates.append(way.decide(RTP, now=0.0))
    assert drawing(fates) == drawing(send(Conditions(loss=0.1), 300))
    assert (way.counts.came, way.counts.media) == (600, 300)


def test_bursts_lose_as_much_in_longer_runs() -> None:
    fates = drawing(send(Conditions(burst=Burst.of(loss=0.1, length=5)), 20_000))
    runs = [len(list(run)) for letter, run in groupby(fates) if letter == "x"]
    assert fates.count("x") / 20_000 == pytest.approx(0.1, abs=0.02)
    assert sum(runs) / len(runs) == pytest.approx(5, abs=0.5)


def test_a_burst_is_over_in_time_also_for_what_comes_seldom() -> None:
    way = ImpairedDirection("seed", Conditions(burst=Burst.of(loss=0.1, length=5)))
    fates = drawing([way.decide(STUN, now=5.0 * number) for number in range(5000)])
    runs = [len(list(run)) for letter, run in groupby(fates) if letter == "x"]
    assert fates.count("x") / 5000 == pytest.approx(0.1, abs=0.02)
    assert sum(runs) / len(runs) == pytest.approx(1 / 0.9, abs=0.1)  # each by a chance of its own


def test_a_burst_may_let_some_pass() -> None:
    runs = drawing(send(Conditions(burst=Burst(enter=1, leave=0, loss=0.5)), 1000))
    assert runs.count("x") == pytest.approx(500, abs=60)


def test_delay_is_the_same_for_all() -> None:
    assert arrivals(send(Conditions(delay_ms=150), 2)) == [pytest.approx(0.15), pytest.approx(0.17)]


def test_jitter_makes_late_and_keeps_the_order() -> None:
    at = arrivals(send(Conditions(jitter_ms=100), 500))
    late = [arrival - number * FRAME_S for number, arrival in enumerate(at)]
    assert at == sorted(at)
    assert 0 <= min(late) < max(late) <= 0.1


def test_jitter_without_order_lets_datagrams_overtake() -> None:
    at = arrivals(send(Conditions(jitter_ms=100, keeps_order=False), 500))
    assert at != sorted(at)


def test_a_reordered_datagram_does_not_hold_back_those_behind_it() -> None:
    way = ImpairedDirection("seed", Conditions(reorder=0.05, reorder_ms=50))
    late = [
        fate.at - 0.02 * number
        for number in range(1000)
        if isinstance(fate := way.decide(RTP, now=0.02 * number), Pass)
    ]
    assert {round(by, 6) for by in late} == {0.0, 0.05}
    assert way.counts.reordered == sum(by > 0.01 for by in late) == pytest.approx(50, abs=25)


def test_a_blackout_by_schedule_takes_all_between_its_bounds() -> None:
    dark = Conditions(blackouts=(Blackout(0.04, 0.08), Blackout(0.12, 0.14)))
    assert drawing(send(dark, 9)) == "..xx..x.."


def test_a_blackout_by_hand_lasts_until_it_is_over() -> None:
    way = ImpairedDirection("seed")
    way.dark = True
    assert way.decide(RTP, now=0.0) == Drop("blackout")
    way.dark = False
    assert way.decide(RTP, now=1.0) == Pass(1.0)


def test_everything_that_came_is_counted_once() -> None:
    way = ImpairedDirection(
        "seed", Conditions(loss=0.2, burst=Burst.of(loss=0.2, length=3), blackouts=(Blackout(0, 1),))
    )
    for number in range(200):
        way.decide(RTP, now=number * FRAME_S)
    counts = way.counts
    assert counts.came == 200
    assert counts.came == counts.passed + counts.lost + counts.lost_in_bursts + counts.lost_in_blackouts
    assert min(counts.passed, counts.lost, counts.lost_in_bursts) > 0
    assert counts.lost_in_blackouts == 50


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (RTP, "media"),
        (b"\x90\xef" + bytes(10), "media"),
        (RTCP, "control"),
        (STUN, "control"),
        (b"\x16\xfe", "control"),
    ],
)
def test_media_is_identified_by_the_first_bytes(datagram: bytes, expected: str) -> None:
    assert lane(datagram) == expected


@pytest.mark.parametrize("runt", [b"", RTP[:-1]])
def test_a_runt_is_no_media(runt: bytes) -> None:
    assert lane(runt) == "control"


def test_datagrams_in_flight_are_delivered_by_arrival_time() -> None:
    flying: InFlight[str] = InFlight()
    assert flying.next_at is None
    for name, at in (("third", 2.0), ("first", 1.0), ("fourth", 2.0), ("second", 1.0)):
        flying.add(name, at=at)
    assert flying.next_at == 1.0
    assert flying.arrived(now=0.5) == []
    assert flying.arrived(now=1.0) == ["first", "second"]
    assert flying.arrived(now=9.0) == ["third", "fourth"]
