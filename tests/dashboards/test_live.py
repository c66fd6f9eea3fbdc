"""Every expression of every panel and rule, asked of a real Prometheus that watched a real load."""

import re

import pytest

from tests.dashboards.boards import BoardPanel, everything
from tests.dashboards.prometheus import NAMESPACE
from tests.dashboards.tools import ROOT, RULES
from tests.dashboards.watched import TENANTS, Watched

pytestmark = [pytest.mark.system, pytest.mark.beside]
RUNBOOKS = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")))
SUGGESTED = sorted(
    {line for block in re.findall(r"```promql\n(.*?)```", RUNBOOKS, re.DOTALL) for line in block.splitlines()}
)


@pytest.mark.parametrize("panel", everything(), ids=str)
def test_a_panel_shows_something_after_a_load(loaded: Watched, panel: BoardPanel) -> None:
    for asked in panel.asks:
        found = loaded.prometheus.ask(asked, window=loaded.window)
        assert any(series.says_something for series in found), asked.expr
    assert panel.asks


def metrics_in(text: str) -> set[str]:
    """The names of our metrics in ``text``, without what a histogram adds to its own."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"(?<!:)\bhushgate_\w+", text)}


def test_rules_and_panels_know_no_metric_that_no_service_has(loaded: Watched) -> None:
    asked = [asked.expr for panel in everything() for asked in panel.asks]
    assert metrics_in("\n".join([RULES.read_text(), *asked])) <= loaded.prometheus.metrics()


def test_every_rule_is_evaluated_without_an_error(loaded: Watched) -> None:
    wrong = {rule["name"]: rule["lastError"] for rule in loaded.prometheus.rules() if rule["health"] != "ok"}
    assert wrong == {}


def test_a_healthy_gateway_raises_no_alert(loaded: Watched) -> None:
    found = loaded.prometheus.now('ALERTS{alertstate="firing"}')
    assert [series.labels["alertname"] for series in found] == []


@pytest.mark.parametrize("expression", SUGGESTED)
def test_what_runbooks_suggest_to_ask_can_be_asked(loaded: Watched, expression: str) -> None:
    loaded.prometheus.now(expression)
    assert metrics_in(expression) <= loaded.prometheus.metrics()


def test_the_variables_find_their_values(loaded: Watched) -> None:
    values = loaded.prometheus.http.get("/api/v1/label/tenant/values").json()["data"]
    assert values == sorted(TENANTS)
    assert loaded.prometheus.http.get("/api/v1/label/namespace/values").json()["data"] == [NAMESPACE]
