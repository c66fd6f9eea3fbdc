"""What the dashboards ask, read from the JSON that ships."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "helm" / "dashboards"
NAMES = ("cost", "latency")
VARIABLES = ("namespace", "provider", "tenant")


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a dashboard shows, and what Grafana makes of it."""

    seconds: float
    rate_s: int

    def fill(self, expression: str) -> str:
        """``expression`` with Grafana's variables replaced, every choice being `All`."""
        whole = max(1, round(self.seconds))
        values = {"__rate_interval": f"{self.rate_s}s", "__range_s": str(whole), "__range": f"{whole}s"}
        for name, value in (values | dict.fromkeys(VARIABLES, ".*")).items():
            expression = expression.replace(f"${name}", value)
        return expression


@dataclass(frozen=True, slots=True)
class Ask:
    """One query of a panel."""

    expr: str
    legend: str
    instant: bool


@dataclass(frozen=True, slots=True)
class BoardPanel:
    """A panel of a dashboard's JSON."""

    board: str
    json: Mapping[str, Any]

    @property
    def title(self) -> str:
        return str(self.json["title"])

    @property
    def kind(self) -> str:
        return str(self.json["type"])

    @property
    def unit(self) -> str:
        return str(self.json["fieldConfig"]["defaults"]["unit"])

    @property
    def asks(self) -> list[Ask]:
        return [
            Ask(target["expr"], target["legendFormat"], bool(target.get("instant"))) for target in self.json["targets"]
        ]

    def __str__(self) -> str:
        return f"{self.board}: {self.title}"


def read(name: str) -> dict[str, Any]:
    """The dashboard ``name``."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def panels(name: str) -> Iterator[BoardPanel]:
    """All panels of the dashboard ``name``, without its rows."""
    for panel in read(name)["panels"]:
        if panel["type"] != "row":
            yield BoardPanel(name, panel)


def everything() -> list[BoardPanel]:
    """The panels of all dashboards."""
    return [panel for name in NAMES for panel in panels(name)]
