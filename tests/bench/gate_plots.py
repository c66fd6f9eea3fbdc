"""Plots of what settings of the gate trade: delivered against billed, and the end of turns against cut turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from services.contracts.audio import FRAME_MS
from services.gate.core.measures import GateFigures, Labels, measure, summary
from services.gate.core.replay import ScoredStream, replay
from services.gate.options import gate_settings
from services.media.core.speech.gate_config import GateConfig

DETECTORS = ("silero", "webrtcvad")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HANGOVERS_MS = (200, 300, 400, 500, 600, 800, 1000, 1200)
_COLOURS = {"webrtcvad": "#94a3b8", "silero": "#2563eb"}
_STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}

Curves = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""By detector and setting: the figures at each value."""


@dataclass(frozen=True, slots=True)
class PlottedStream:
    """A stream with the scores of one detector."""

    scored: ScoredStream
    labels: Labels


def curves(streams: Mapping[str, Sequence[PlottedStream]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return, for each detector, the figures by threshold and by hangover."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for detector, members in streams.items():
        config = gate_settings({"VAD": detector}).gate
        found[detector] = {
            "threshold": [{"at": value, **_figures(replace(config, threshold=value), members)} for value in THRESHOLDS],
            "hangover_ms": [
                {"at": value, **_figures(replace(config, hangover_frames=value // FRAME_MS), members)}
                for value in HANGOVERS_MS
            ],
        }
    return found


def draw(found: Curves, folder: Path) -> None:
    """Write both plots."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("billed, multiple of what was spoken", "delivered, % of speech")
        for detector, points in found.items():
            _line(
                axes, points["threshold"], ("billed_ratio", "delivered_pct"), label=detector, colour=_COLOURS[detector]
            )
        axes.legend(frameon=False)
        figure.savefig(folder / "gate-delivered.png", format="png", dpi=130)
        figure, axes = _axes("turns cut at a pause, %", "end of turn, ms")
        for detector, points in found.items():
            for name, style in (("eot_p50", "-"), ("eot_p95", "--")):
                figures, label = ("cut_turns_pct", name), f"{detector}, {name.removeprefix('eot_')}"
                _line(axes, points["hangover_ms"], figures, label=label, colour=_COLOURS[detector], style=style)
        axes.legend(frameon=False)
        figure.savefig(folder / "gate-turns.png", format="png", dpi=130)


def _axes(x_title: str, y_title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    return figure, axes


def _line(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    figures: tuple[str, str],
    *,
    label: str,
    colour: str,
    style: str = "-",
) -> None:
    """Draw a curve; the value of the setting is beside each point that differs from the one before."""
    x, y = ([point[name] for point in points] for name in figures)
    axes.plot(x, y, style, marker="o", markersize=4, label=label, color=colour)
    for number, place in enumerate(zip(x, y, strict=True)):
        if style == "-" and (number == 0 or place != (x[number - 1], y[number - 1])):
            text = f"{points[number]['at']:g}"
            axes.annotate(text, place, textcoords="offset points", xytext=(4, 4), fontsize=7, color=colour)


def _figures(config: GateConfig, streams: Sequence[PlottedStream]) -> GateFigures:
    found = summary([measure(stream.labels, replay(config, stream.scored)) for stream in streams])
    return {name: found[name] for name in ("delivered_pct", "billed_ratio", "cut_turns_pct", "eot_p50", "eot_p95")}
