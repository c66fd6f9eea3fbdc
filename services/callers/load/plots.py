"""Plots as inline SVG in the page's colours: text and axes are `currentColor`."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

_INK = "#010203"
"""A colour that is used nowhere else, to be replaced by `currentColor`."""
COLOURS = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#14b8a6", "#ec4899", "#84cc16")
"""Distinguishable on white and on black."""
_DECADES = 20
"""Durations that differ by more than this factor get a logarithmic axis."""
_SIZE_INCHES = (7.2, 2.8)
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hushgate",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
}


def over_time(at_s: Sequence[float], series: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Plot ``series`` over the seconds of the run as SVG."""

    def draw(axes: Axes) -> None:
        for colour, (name, values) in zip(_cycle(len(series)), series.items(), strict=True):
            axes.plot(at_s, values, label=name, color=colour, linewidth=1.5)
        axes.set_xlabel("seconds")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if len(series) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return _svg(draw)


def distribution(counts: Mapping[int, int], *, per_ms: int) -> str:
    """Plot the cumulative distribution; ``counts`` by steps of 1/``per_ms`` ms."""
    steps = sorted(counts)
    total, seen, shares = sum(counts.values()), 0, []
    for step in steps:
        seen += counts[step]
        shares.append(100 * seen / total)

    def draw(axes: Axes) -> None:
        axes.step([max(step, 1) / per_ms for step in steps], shares, where="post", color=COLOURS[0], linewidth=1.5)
        for share in (50, 95, 99):
            axes.axhline(share, color=_INK, linewidth=0.6, linestyle=":")
        if steps[-1] > _DECADES * max(steps[0], 1):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("ms")
        axes.set_ylabel("% not longer")
        axes.set_ylim(0, 101)

    return _svg(draw)


def _cycle(count: int) -> list[str]:
    return [COLOURS[n % len(COLOURS)] for n in range(count)]


def _svg(draw: Callable[[Axes], None]) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    return re.sub(_INK, "currentColor", svg[svg.index("<svg") :])
