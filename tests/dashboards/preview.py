"""`make dashboards-preview`: draw both dashboards from a real load into docs/images.

With `--record FILE` what Prometheus answered is kept, and `--replay FILE` draws it anew.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from services.runtime import clock
from tests.dashboards.boards import NAMES, BoardPanel, everything, read
from tests.dashboards.drawing import draw
from tests.dashboards.page import Page, dark
from tests.dashboards.prometheus import Series
from tests.dashboards.tools import ROOT
from tests.dashboards.watched import Watched, watched

IMAGES = ROOT / "docs" / "images"
RATE_S = 20
CALLS = (5, 3)
MINUTES = 1.9
SPAN = "span"
RecordedPanels = dict[str, Any]
"""By the panel's name: for each query its series, as [labels, points]; and the time that is shown."""


def record() -> RecordedPanels:
    """What each panel gets after a load."""
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), rate_s=RATE_S) as running:
        running.load(calls=CALLS, minutes=MINUTES)
        running.settle()
        span = [running.prometheus.began, clock.unix_ms() / 1000]
        return {SPAN: span, **{str(panel): _asked(running, panel) for panel in everything()}}


def _asked(running: Watched, panel: BoardPanel) -> list[list[tuple[dict[str, str], list[tuple[float, float]]]]]:
    window = running.window
    return [
        [(dict(series.labels), series.points) for series in running.prometheus.ask(asked, window=window)]
        for asked in panel.asks
    ]


def paint(name: str, recorded: RecordedPanels) -> None:
    """Draw the dashboard ``name``."""
    board = read(name)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    page = Page(board["title"], board["description"], rows, span=tuple(recorded[SPAN]))
    for drawn in board["panels"]:
        if drawn["type"] == "row":
            page.heading(drawn["gridPos"], drawn["title"])
            continue
        panel = BoardPanel(name, drawn)
        answers = [
            [Series(labels, [(at, float(value)) for at, value in points]) for labels, points in found]
            for found in recorded[str(panel)]
        ]
        draw(page, panel, answers)
    page.save(str(IMAGES / f"dashboard-{name}.png"))


def main() -> None:
    """Record or replay, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, help="keep what Prometheus answered")
    parser.add_argument("--replay", type=Path, help="draw what was kept")
    asked = parser.parse_args()
    recorded = json.loads(asked.replay.read_text()) if asked.replay else record()
    if asked.record:
        asked.record.write_text(json.dumps(recorded))
    with dark():
        for name in NAMES:
            paint(name, recorded)


if __name__ == "__main__":
    main()
