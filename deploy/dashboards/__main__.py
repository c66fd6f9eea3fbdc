"""`python -m deploy.dashboards`: write the JSON of all dashboards into the chart."""

from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import cost, latency

FOLDER = Path(__file__).parent.parent / "helm" / "dashboards"
BOARDS: Mapping[str, Callable[[], Dashboard]] = {"cost": cost.build, "latency": latency.build}


def text(name: str) -> str:
    """Return the JSON of the dashboard ``name``."""
    return f"{JSONEncoder(sort_keys=True, indent=2).encode(BOARDS[name]())}\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board}.json").write_text(text(board))
