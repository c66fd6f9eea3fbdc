"""The process that a load report names, and its split of a turn's latency."""

import pytest

from services.callers.core.bottleneck import ServiceLoad, bottleneck
from services.callers.core.figures import ProcessFigures, Run, figures
from services.callers.core.simulated_caller import TalkProfile, TurnShares, TurnTotals
from tests.callers.test_load_conversation import SimulatedCall

IDLE = ServiceLoad(20, 100, busiest_pct=20, waiting_pct=0)
FULL = ServiceLoad(98, 100, busiest_pct=98, waiting_pct=0)
CROWDED = ServiceLoad(40, 100, busiest_pct=95, waiting_pct=55)
UNKNOWN_TO_THE_KERNEL = ServiceLoad(97, 100)


@pytest.mark.parametrize(
    ("services", "machine_pct", "where", "service"),
    [
        ({"rehearsal": FULL, "media-0": IDLE}, 60, "provider", "rehearsal"),
        ({"rehearsal": IDLE, "media-0": FULL}, 60, "gateway", "media-0"),
        ({"rehearsal": IDLE, "upstream": CROWDED}, 100, "gateway", "upstream"),
        ({"nats": UNKNOWN_TO_THE_KERNEL, "media-0": IDLE}, 60, "gateway", "nats"),
        ({"callers": FULL, "media-0": IDLE}, 60, "callers", "callers"),
        ({"load": FULL}, 60, "callers", "load"),
        ({"rehearsal": FULL, "media-0": ServiceLoad(99, 9, 99, 0)}, 99, "gateway", "media-0"),
        ({"rehearsal": IDLE, "media-0": IDLE}, 99, "machine", None),
        ({"rehearsal": IDLE, "media-0": IDLE}, 94, "none", None),
        ({"rehearsal": IDLE, "media-0": IDLE}, None, "none", None),
        ({"callers": IDLE, "load": IDLE}, 50, "unknown", None),
        ({}, None, "unknown", None),
    ],
)
def test_the_process_at_its_limit_is_named(
    services: dict[str, ServiceLoad], machine_pct: float | None, where: str, service: str | None
) -> None:
    found = bottleneck(services, machine_pct)
    assert (found.where, found.service) == (where, service)
    assert service is None or service in found.words


def test_the_sentence_says_which_process_waits_for_a_cpu() -> None:
    assert bottleneck({"rehearsal": FULL}, 50).words == "Bottleneck: rehearsal (provider) 98 % of a core"
    crowded = bottleneck({"upstream": CROWDED}, 100).words
    assert crowded == "Bottleneck: upstream 95 % of a core, 55 % of it in wait for a CPU that others had"


def run_of(turns: TurnTotals) -> Run:
    services = {"rehearsal": FULL}
    return Run("http://there", 1, 0.42, True, 10, 1, ProcessFigures(connected=1, turns=turns), services)  # noqa: FBT003


def test_one_sentence_names_the_bottleneck_and_the_shares() -> None:
    turns = TurnTotals(asked=10, answered=9)
    for histogram, ms in ((turns.latency, 6900), (turns.provider, 6200), (turns.hangover, 500), (turns.gateway, 200)):
        histogram.add(ms)
    assert figures(run_of(turns))["bottleneck"]["sentence"] == (
        "Bottleneck: rehearsal (provider) 98 % of a core: 9 of 10 turns answered, turn p50 6.90 s of which provider "
        "6.20 s, the gate's hangover 0.50 s, gateway and network 0.20 s."
    )


def test_without_shares_or_turns_the_sentence_claims_none() -> None:
    turns = TurnTotals(asked=2)
    assert figures(run_of(turns))["bottleneck"]["sentence"].endswith("of a core: 0 of 2 turns answered.")
    turns.answered = 2
    turns.latency.add(700)
    assert figures(run_of(turns))["bottleneck"]["sentence"].endswith("2 of 2 turns answered, turn p50 0.70 s.")


def reporting_line(*, before: bool) -> SimulatedCall:
    """An endpoint that reports each turn's shares, before the caller has received the answer or after."""
    line = SimulatedCall(manner=TalkProfile(talk=0.3))
    reported = 0
    while line.frame < 1000:
        line.run(0.02)
        turns = line.turns
        heard = line.reception.first_sound_at is not None
        if (heard if before else turns.answered > reported) and reported == turns.answered - (0 if before else 1):
            line.conversation.turn_reported(TurnShares(provider_ms=150, hangover_ms=500))
            reported += 1
    return line


@pytest.mark.parametrize("before", [True, False])
def test_a_turn_is_split_whether_its_shares_come_before_its_sound_or_after(*, before: bool) -> None:
    turns = reporting_line(before=before).turns
    assert turns.latency.total >= 3
    assert turns.provider.total >= turns.latency.total - 1
    assert turns.provider.quantile(0.5) == 150
    assert turns.hangover.quantile(0.5) == 500
    gateway, latency = turns.gateway.quantile(0.5), turns.latency.quantile(0.5)
    assert gateway is not None
    assert latency is not None
    assert gateway == pytest.approx(latency - 650, abs=20)


def test_shares_that_belong_to_no_turn_are_not_counted() -> None:
    line = SimulatedCall(manner=TalkProfile(talk=0.3))
    line.conversation.turn_reported(TurnShares(150, 500))
    line.run(3)
    line.conversation.turn_reported(TurnShares(150, 500))
    line.conversation.turn_reported(TurnShares(150, 500))
    assert line.turns.provider.total <= 1


def test_shares_of_two_processes_add_up() -> None:
    one, other = TurnTotals(), TurnTotals()
    for turns in (one, other):
        for histogram in (turns.provider, turns.hangover, turns.gateway):
            histogram.add(100)
    one.merge(other)
    assert (one.provider.total, one.hangover.total, one.gateway.total) == (2, 2, 2)
