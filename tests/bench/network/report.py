"""The figures as JSON, as a table and as a picture."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from services.runtime import clock
from tests.bench.network.analysis import NetworkResult

BEST, WORST = 4.64, 1.0  # the ends of PESQ-WB's scale
_DARK = 2.6  # below it the colour is dark, and the number on it white


def document(results: Sequence[NetworkResult], circumstances: dict[str, Any]) -> dict[str, Any]:
    """All of it, with what is needed to measure it again."""
    return {
        "measured_at": clock.utc_now().isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        **circumstances,
        "cells": [
            asdict(result.cell) | {"up": result.up.as_json(), "down": result.down.as_json()} for result in results
        ],
    }


def markdown(results: Sequence[NetworkResult]) -> str:
    """A table for docs/performance.md: up / down."""
    rows, jitters = _axes(results)
    found = {(result.cell.row, result.cell.jitter_ms): result for result in results}
    lines = [
        "| loss | " + " | ".join(f"{jitter} ms jitter" for jitter in jitters) + " |",
        "|---" * (len(jitters) + 1) + "|",
    ]
    for row in rows:
        cells = [found.get((row, jitter)) for jitter in jitters]
        lines.append(
            f"| {row} | " + " | ".join(f"{c.up.pesq:.2f} / {c.down.pesq:.2f}" if c else "-" for c in cells) + " |"
        )
    return "\n".join(lines) + "\n"


def picture(results: Sequence[NetworkResult], path: Path) -> None:
    """Two heat maps beside each other."""
    mpl.use("agg")
    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    up = _panel(panels[0], results, [result.up.pesq for result in results])
    _panel(panels[1], results, [result.down.pesq for result in results])
    panels[0].set_title("Up: what the provider hears")
    panels[1].set_title("Down: what the caller hears")
    panels[0].set_ylabel("lost packets")
    figure.colorbar(up, ax=list(panels), label="PESQ-WB, median of the sentences", shrink=0.9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)


def _panel(axes: Axes, results: Sequence[NetworkResult], scores: Sequence[float]) -> AxesImage:
    rows, jitters = _axes(results)
    grid = np.full((len(rows), len(jitters)), np.nan)
    for result, value in zip(results, scores, strict=True):
        grid[rows.index(result.cell.row), jitters.index(result.cell.jitter_ms)] = value
    image = axes.imshow(grid, cmap="viridis", vmin=WORST, vmax=BEST, aspect="auto")
    for (row, column), value in np.ndenumerate(grid):
        if not np.isnan(value):
            colour = "white" if value < _DARK else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=12)
    axes.set_xticks(range(len(jitters)), [f"{jitter} ms" for jitter in jitters])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("jitter")
    return image


def _axes(results: Sequence[NetworkResult]) -> tuple[list[str], list[int]]:
    rows = list(dict.fromkeys(result.cell.row for result in results))
    return rows, sorted({result.cell.jitter_ms for result in results})


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no input in it
    return done.stdout.strip() or "unknown"
