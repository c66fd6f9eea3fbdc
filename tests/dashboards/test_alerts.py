"""The rules: what makes each alert fire, what does not, and the page that says what to do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.dashboards import objectives
from tests.dashboards.tools import ROOT, RULES, promtool

CASES = Path(__file__).parent / "alerts"
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(page for page in RUNBOOKS.glob("*.md") if page.stem != "README")
HEADINGS = ["What it means", "What callers notice", "How to look", "What to do"]


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def cases() -> Iterator[tuple[str, bool]]:
    """Of each case: the alert, and whether it fires."""
    for file in CASES.glob("*.yaml"):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for asked in test["alert_rule_test"]:
                yield asked["alertname"], bool(asked["exp_alerts"])


def test_promtool_finds_no_fault() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda file: str(file.stem))
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    ran = promtool("test", "rules", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_has_a_case_that_fires_and_one_that_is_quiet() -> None:
    assert set(cases()) == {(name, fires) for name in alerts() for fires in (True, False)}


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"page", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    assert [page.stem for page in PAGES] == sorted(alerts())
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|$", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    assert listed == [(name, name, rule["labels"]["severity"]) for name, rule in alerts().items()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_runbook_answers_the_four_questions(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (RUNBOOKS / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_what_a_runbook_looks_for_in_logs_is_logged(page: Path) -> None:
    sources = "\n".join(file.read_text() for file in (ROOT / "services").rglob("*.py"))
    commands = page.read_text().replace(" \\\n  ", " ")
    for pattern in re.findall(r"app\.kubernetes\.io/component=[a-z]+ --tail.* grep -E '(.*)'", commands):
        for word in re.findall(r"[a-z_]{3,}", pattern):
            assert re.search(rf"[\"_]{word}|{word}[\"_]", sources), word


def test_the_alerts_and_the_panels_know_the_same_promises() -> None:
    promised = {
        "HushgateSetupSlow": objectives.SETUP_P95_S,
        "HushgateTurnsSlow": objectives.TURN_P95_S,
        "HushgateCallsDropped": objectives.DROPPED_CALLS,
        "HushgatePacketLoss": objectives.PACKET_LOSS,
        "HushgateMediaFull": objectives.LOAD,
        "HushgateUpstreamFull": objectives.LOAD,
        "HushgateLoopLag": objectives.LOOP_LAG_S,
        "HushgateSendingLate": objectives.LATENESS_P99_S,
        "HushgateUsageStuck": objectives.OUTBOX_S,
    }
    for name, number in promised.items():
        first = re.search(r"> ([\d.]+)$", alerts()[name]["expr"], re.MULTILINE)
        assert first is not None, name
        assert float(first[1]) == number, name
    budget = f"* {round(1 - objectives.SETUP_SUCCESS, 4):g}"
    assert alerts()["HushgateSetupFailsFast"]["expr"].count(budget) == 2
    assert alerts()["HushgateSetupFailsSlow"]["expr"].count(budget) == 2
