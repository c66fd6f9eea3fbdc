"""`hushgate load` against a whole gateway."""

import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.system.gateway import Up

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite"),
]
PERCENTILES = {"p50", "p95", "p99"}


@pytest.fixture(scope="module")
def loaded(up: Up, tmp_path_factory: pytest.TempPathFactory) -> tuple["subprocess.CompletedProcess[str]", Path]:
    """One run for all tests, with one requirement that holds and one that cannot."""
    folder = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-m", "services.cli", "load", "--data", str(up.data), "--calls", "4", "--minutes", "0.3"]
    reports = ["--json", str(folder / "load.json"), "--html", str(folder / "load.html"), "--processes", "2"]
    requirements = ["--require", "calls.failed ==0", "--require", "turn_ms.p50 <1"]
    ended = subprocess.run([*command, *reports, *requirements], capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    return ended, folder


@pytest.fixture(scope="module")
def figures(loaded: tuple["subprocess.CompletedProcess[str]", Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((loaded[1] / "load.json").read_text())
    return found


def test_every_call_connects_and_questions_are_answered(figures: dict[str, Any]) -> None:
    assert figures["calls"]["asked"] == figures["calls"]["connected"] == 4
    assert figures["calls"]["failed"] == sum(figures["calls"]["failed_by"].values()) == 0
    assert 0 < figures["turns"]["answered"] <= figures["turns"]["asked"]


def test_durations_are_measured(figures: dict[str, Any]) -> None:
    for name in ("setup_ms", "spacing_ms", "lateness_ms", "turn_ms"):
        assert figures[name].keys() == PERCENTILES
        assert 0 <= figures[name]["p50"] <= figures[name]["p95"] <= figures[name]["p99"]
    assert figures["barge_in_ms"].keys() == PERCENTILES
    assert figures["turn_ms"]["p50"] > 500  # the hangover


def test_frames_are_counted(figures: dict[str, Any]) -> None:
    frames = figures["frames"]
    assert frames.keys() == {"sent", "received", "lost", "concealed"}
    assert frames["sent"] > 100
    assert frames["received"] > 0
    assert frames["lost"] == 0


def test_the_bill_is_that_of_all_calls(figures: dict[str, Any]) -> None:
    assert figures["cost_usd"] > 0
    assert figures["saved_usd"] >= 0


def test_every_process_of_the_gateway_is_watched(figures: dict[str, Any]) -> None:
    watched = figures["services"]
    assert {"signaling", "media-0", "upstream", "metering", "rehearsal", "nats", "callers"} <= watched.keys()
    assert all(usage["rss_mb"] > 1 and usage["cpu_pct"] >= 0 for usage in watched.values())
    assert watched["media-0"]["cpu_pct"] > 0
    assert max(figures["series"]["connected"]) == 4


def test_an_unmet_requirement_fails_the_command(loaded: tuple["subprocess.CompletedProcess[str]", Path]) -> None:
    ended, _ = loaded
    assert ended.returncode == 1
    assert "turn_ms.p50 < 1 is required, but it is" in ended.stderr
    assert "calls.failed" not in ended.stderr


def test_the_report_is_one_file_with_plots_and_without_the_key(
    up: Up, loaded: tuple["subprocess.CompletedProcess[str]", Path]
) -> None:
    ended, folder = loaded
    page = (folder / "load.html").read_text()
    links: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            links.extend(value or "" for name, value in attrs if name in {"src", "href"} and tag != "use")

    Reader().feed(page)
    assert page.count("<svg") >= 6
    assert links == []
    for text in (page, (folder / "load.json").read_text(), ended.stdout, ended.stderr):
        assert up.tenant_key not in text
