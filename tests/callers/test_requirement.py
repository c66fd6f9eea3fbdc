import pytest

from services.callers.core.figures import known_figures
from services.callers.core.requirement import Requirement, RequirementSyntaxError, parse, unmet

KNOWN = known_figures()
FIGURES = {"setup_ms": {"p95": 512.5, "p99": None}, "calls": {"failed": 0}, "services": {"media-0": {"cpu_pct": 99.0}}}


@pytest.mark.parametrize("text", ["setup_ms.p95 <500", "setup_ms.p95<500", "  setup_ms.p95 < 500.0 "])
def test_spaces_do_not_matter(text: str) -> None:
    assert parse(text, known=KNOWN) == Requirement("setup_ms.p95", "<", 500)


@pytest.mark.parametrize("text", ["", "setup_ms.p95", "setup_ms.p95 < fast", "setup_ms.p95 != 3", "< 500", "a b < 3"])
def test_what_is_no_condition_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RequirementSyntaxError, match="FIGURE SIGN NUMBER"):
        parse(text, known=KNOWN)


@pytest.mark.parametrize(
    "path", ["setup_ms", "setup_ms.p96", "setup_ms.p95.x", "series.at_s", "notes", "services.x.ram"]
)
def test_a_figure_that_does_not_exist_is_refused_with_those_that_do(path: str) -> None:
    with pytest.raises(RequirementSyntaxError, match=r"no figure .*setup_ms\.p95"):
        parse(f"{path} < 1", known=KNOWN)


@pytest.mark.parametrize(
    "path", ["services.media-0.cpu_pct", "calls.failed_by.refused", "cost_usd", "rig.pacing_ms.p99"]
)
def test_every_number_of_the_report_can_be_asked_for(path: str) -> None:
    assert parse(f"{path} <= 1", known=KNOWN).path == path


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("setup_ms.p95 < 512.5", False),
        ("setup_ms.p95 <= 512.5", True),
        ("setup_ms.p95 > 512", True),
        ("setup_ms.p95 >= 513", False),
        ("calls.failed == 0", True),
        ("services.media-0.cpu_pct < 100", True),
    ],
)
def test_a_requirement_is_met_or_unmet(text: str, *, met: bool) -> None:
    assert (unmet(parse(text, known=KNOWN), FIGURES) is None) is met


def test_an_unmet_one_shows_the_difference() -> None:
    found = unmet(parse("setup_ms.p95 < 500", known=KNOWN), FIGURES)
    assert str(found) == "setup_ms.p95 < 500 is required, but it is 512.5 (12.5 off)"


@pytest.mark.parametrize("path", ["setup_ms.p99", "turn_ms.p50", "services.media-7.cpu_pct"])
def test_what_was_not_measured_meets_nothing(path: str) -> None:
    found = unmet(parse(f"{path} > 0", known=KNOWN), FIGURES)
    assert str(found) == f"{path} > 0 is required, but nothing was measured"
