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


def draw(found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], folder: Path) -> None:
    """Write both plots."""
    with mpl.rc_context(_STYLE):
        _plot(
            folder / "gate-delivered.png",
            found,
            "threshold",
            ("billed_ratio", "delivered_pct"),
            ("billed, multiple of what was spoken", "delivered, % of speech"),
        )
        _plot(
            folder / "gate-turns.png",
            found,
            "hangover_ms",
            ("cut_turns_pct", "eot_p50"),
            ("turns cut at a pause, %", "end of turn, median, ms"),
        )


def _plot(
    target: Path,
    found: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    curve: str,
    figures: tuple[str, str],
    titles: tuple[str, str],
) -> None:
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_subplot()
    for detector, points in found.items():
        x, y = ([point[name] for point in points[curve]] for name in figures)
        axes.plot(x, y, marker="o", markersize=4, label=detector, color=_COLOURS[detector])
        for point, at_x, at_y in zip(points[curve], x, y, strict=True):
            axes.annotate(f"{point['at']:g}", (at_x, at_y), textcoords="offset points", xytext=(4, 4), fontsize=7)
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    axes.legend(frameon=False)
    figure.savefig(target, format="png", dpi=130)


def _figures(config: GateConfig, streams: Sequence[PlottedStream]) -> GateFigures:
    found = summary([measure(stream.labels, replay(config, stream.scored)) for stream in streams])
    return {name: found[name] for name in ("delivered_pct", "billed_ratio", "cut_turns_pct", "eot_p50", "eot_p95")}
