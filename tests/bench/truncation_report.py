"""The figures of `make bench-truncation`: JSON, a table, a plot."""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table

from services.runtime import clock
from tests.bench.turns import summary

BAR_MS = 60
COLOURS = {True: "#2a78d6", False: "#b5651d"}


@dataclass(frozen=True, slots=True)
class Condition:
    """The parameters of a series. ``delay_ms``: one way."""

    reports: bool
    delay_ms: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return f"{'with' if self.reports else 'without'} reports, {self.delay_ms} ms one way"


@dataclass(frozen=True, slots=True)
class CutMeasurement:
    """One cut. Errors are `heard_ms` minus what was rendered; None: no match in the answer.

    The tap is where the browser hands sound to its output; the ear is ``playout_delay_ms`` behind, by its own word.
    """

    believed_delay_ms: int
    """From the socket to playout, as assumed for `heard_ms`."""
    tap_error_ms: float | None
    ear_error_ms: float | None
    after_cut_ms: float | None
    """What was sent by the socket and had not reached the tap: it cannot be recalled."""
    playout_delay_ms: float


def as_json(found: Mapping[Condition, Sequence[CutMeasurement]], *, browser: str, load: float) -> dict[str, Any]:
    """What goes into the file. ``load``: the machine's highest load average meanwhile, to judge the figures by."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "measured_at": clock.utc_now().isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
            "load_average": round(load, 1),
        },
        "browser": browser,
        "conditions": [{**asdict(condition), **_figures(cuts)} for condition, cuts in found.items()],
    }


def _figures(cuts: Sequence[CutMeasurement]) -> dict[str, Any]:
    ear = [cut.ear_error_ms for cut in cuts if cut.ear_error_ms is not None]
    tap = [cut.tap_error_ms for cut in cuts if cut.tap_error_ms is not None]
    return {
        "cuts": len(cuts),
        "not_found": len(cuts) - len(ear),
        "error_ms": _errors(ear),
        "error_at_tap_ms": _errors(tap),
        "rendered_after_cut_ms": summary([cut.after_cut_ms for cut in cuts if cut.after_cut_ms is not None]),
        "believed_delay_ms": summary([cut.believed_delay_ms for cut in cuts]),
        "playout_delay_ms": summary([cut.playout_delay_ms for cut in cuts]),
    }


def _errors(signed: Sequence[float]) -> dict[str, Any]:
    """Percentiles of absolute errors; ``median`` and ``all`` keep their sign."""
    sizes = summary([abs(error) for error in signed])
    return {
        **sizes,
        "median": round(statistics.median(signed), 1) if signed else None,
        "all": [round(error, 1) for error in signed],
    }


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print the figures."""
    table = Table(title="heard_ms against what Chromium rendered", title_justify="left")
    for name in (
        "condition",
        "cuts",
        "|error| p50",
        "p95",
        "max",
        "median",
        "at the tap p95",
        "rendered after the cut p50",
    ):
        table.add_column(name, justify="right" if name != "condition" else "left")
    for row in results["conditions"]:
        error, tap, after = row["error_ms"], row["error_at_tap_ms"], row["rendered_after_cut_ms"]
        figures = (error["p50"], error["p95"], error["max"], error["median"], tap["p95"], after["p50"])
        name = Condition(row["reports"], row["delay_ms"]).name
        table.add_row(name, f"{error['n']}/{row['cuts']}", *(f"{figure:.0f} ms" for figure in figures))
    console.print(table)


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Plot the distribution of errors, one curve per condition."""
    mpl.use("agg")
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for row in results["conditions"]:
        errors = sorted(row["error_ms"]["all"])
        shares = [100 * (place + 0.5) / len(errors) for place in range(len(errors))]
        style = "-" if row["delay_ms"] == 0 else "--"
        name = Condition(row["reports"], row["delay_ms"]).name
        axes.plot(
            errors, shares, style, color=COLOURS[row["reports"]], label=f"{name} ({len(errors)} cuts)", linewidth=2
        )
    axes.axvspan(-BAR_MS, BAR_MS, color="#2a78d6", alpha=0.08, label=f"within {BAR_MS} ms")
    axes.axvline(0, color="#888", linewidth=0.8)
    axes.set_xlabel("heard_ms - what the ear had heard at the cut (ms); right: too much is believed to be heard")
    axes.set_ylabel("% of cuts")
    axes.set_xlim(-max(120, *map(abs, axes.get_xlim())), max(120, *map(abs, axes.get_xlim())))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
