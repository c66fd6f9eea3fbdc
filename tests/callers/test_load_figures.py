from decimal import Decimal

import numpy as np
import pytest
from pydantic import TypeAdapter

from services.callers.core.bottleneck import ServiceLoad
from services.callers.core.clip import EncodedClip, level
from services.callers.core.figures import Failure, Point, ProcessFigures, Run, figures, known_figures

ACCOUNT = TypeAdapter(ProcessFigures)
CLIP = TypeAdapter(EncodedClip)


def account(*, connected: int = 0, sent: int = 0, unsent: int = 0, bills: int = 0) -> ProcessFigures:
    made = ProcessFigures(connected=connected, sent=sent, unsent=unsent, bills=bills)
    made.set_up.add(100)
    made.received.lateness.add_all((0, 61, 300))
    made.received.lost = 2
    return made


def run(made: ProcessFigures, *, talk: float = 0.42, concealed: int | None = None, interrupted: bool = False) -> Run:
    return Run(
        url="http://there",
        calls=4,
        talk=talk,
        dtx=True,
        seconds=12.34,
        processes=2,
        account=made,
        services={"callers": ServiceLoad(8, 200), "media-0": ServiceLoad(33.33, 120)},
        points=[Point(1, 2, {"callers": 5}), Point(2, 4, {"callers": 6, "media-0": 40})],
        gateway_concealed=concealed,
        interrupted=interrupted,
    )


def notes(of: Run) -> str:
    return "\n".join(figures(of)["notes"])


def test_figures_of_two_processes_add_up() -> None:
    whole, other = account(connected=1, sent=10, bills=1), account(connected=2, sent=5, unsent=1)
    other.failed(Failure.REFUSED, "no room")
    other.cost_usd, other.saved_usd = Decimal("0.1"), Decimal("0.2")
    whole.merge(other)
    assert (whole.connected, whole.sent, whole.unsent, whole.bills) == (3, 15, 1, 1)
    assert (whole.cost_usd, whole.saved_usd) == (Decimal("0.1"), Decimal("0.2"))
    assert whole.failures == {Failure.REFUSED: 1}
    assert whole.received.lost == 4
    assert whole.set_up.total == 2


def test_an_account_comes_through_a_pipe_as_it_was() -> None:
    made = account(connected=3)
    made.failed(Failure.NO_AUDIO, "nothing came")
    made.cost_usd = Decimal("0.123456789")
    assert ACCOUNT.validate_json(ACCOUNT.dump_json(made)) == made


def test_a_clip_comes_through_a_pipe_as_it_was() -> None:
    clip = EncodedClip("hello", (b"\x00\xff\xfb", b""), (0, 127), 0.1, 0.5)
    assert CLIP.validate_json(CLIP.dump_json(clip)) == clip


def test_failures_are_counted_by_reason_and_the_first_is_quoted() -> None:
    made = account(connected=1)
    made.failed(Failure.REFUSED, "no room for calls")
    made.failed(Failure.REFUSED, "no room for more", 2)
    made.failed(Failure.NO_AUDIO, "not one packet")
    found = figures(run(made))
    assert found["calls"]["failed"] == 4
    assert found["calls"]["failed_by"]["refused"] == 3
    assert found["calls"]["failed_by"]["unreachable"] == 0
    assert "3 calls refused: no room for calls" in notes(run(made))
    assert "1 call no_audio: not one packet" in notes(run(made))


def test_what_was_not_measured_is_null_and_not_zero() -> None:
    found = figures(run(ProcessFigures(), talk=1))
    assert found["turn_ms"] == {"p50": None, "p95": None, "p99": None}
    assert found["cost_usd"] is found["saved_usd"] is None
    assert found["talk"]["measured"] is None
    assert found["rig"]["cpu_pct_per_call"] is None
    assert "there are no turns" in notes(run(ProcessFigures(), talk=1))


def test_what_the_gateway_concealed_comes_before_what_a_receiver_must_conceal() -> None:
    assert figures(run(account(), concealed=7))["frames"]["concealed"] == 7
    assert "by its own metrics" in notes(run(account(), concealed=7))
    assert figures(run(account()))["frames"]["concealed"] == 4  # two lost, two more than 60 ms late
    assert "more than 60 ms late" in notes(run(account()))


def test_calls_without_a_bill_are_noted() -> None:
    made = account(connected=4, bills=3)
    made.cost_usd = Decimal("0.5")
    assert figures(run(made))["cost_usd"] == 0.5
    assert "3 of 4 calls have a bill" in notes(run(made))
    assert "have a bill" not in notes(run(account(connected=4, bills=4)))


@pytest.mark.parametrize(("late_ms", "reported"), [(5, False), (25, True)])
def test_a_late_load_tool_is_noted(late_ms: float, *, reported: bool) -> None:
    made = account()
    made.pacing.add(late_ms)
    assert ("The rig itself was late" in notes(run(made))) is reported


def test_an_interrupted_run_is_noted() -> None:
    assert "Interrupted after 12 s" in notes(run(account(), interrupted=True))


def test_series_have_a_value_for_every_moment() -> None:
    series = figures(run(account()))["series"]
    assert series["connected"] == [2, 4]
    assert series["cpu_pct"] == {"callers": [5, 6], "media-0": [0.0, 40]}


def test_what_requirements_may_ask_for_is_what_the_figures_hold() -> None:
    found, known = figures(run(account())), known_figures()
    assert known.keys() < found.keys()
    assert all(known[name].keys() == found[name].keys() for name in ("calls", "frames", "turns", "rig", "setup_ms"))


@pytest.mark.parametrize(("amplitude", "expected"), [(0, 127), (32768, 0), (3277, 20), (1, 90)])
def test_loudness_is_in_dbov_below_full_scale(amplitude: int, expected: int) -> None:
    samples = np.full(320, -amplitude, dtype=np.int16)
    assert level(samples) == expected
