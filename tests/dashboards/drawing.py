"""Draws what a panel's queries gave, each kind as Grafana draws it."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from tests.dashboards.boards import BoardPanel
from tests.dashboards.numbers import written
from tests.dashboards.page import COLOURS, FAINT, GRID, INK, PANEL, Page
from tests.dashboards.prometheus import QueryLabels, Series

QueryResults = list[list[Series]]
"""What each query of a panel gave, in their order."""
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#fade2a", "#ff9830")
_ROWS_OF_A_TABLE = 9


def draw(page: Page, panel: BoardPanel, answers: QueryResults) -> None:
    """Draw ``panel`` where it belongs."""
    _KINDS[panel.kind](page, panel, answers)


def named(panel: BoardPanel, answers: QueryResults) -> list[tuple[str, Series]]:
    """All series with what the legend calls them."""
    return [
        (_name(asked.legend, series.labels), series)
        for asked, found in zip(panel.asks, answers, strict=True)
        for series in found
    ]


def _name(legend: str, labels: QueryLabels) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend)


def _defaults(panel: BoardPanel) -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = panel.json["fieldConfig"]["defaults"]
    return defaults


def _write(panel: BoardPanel, value: float) -> str:
    return written(value, panel.unit, _defaults(panel).get("decimals"))


def _stat(page: Page, panel: BoardPanel, answers: QueryResults) -> None:
    points = [point for series in answers[0] for point in series.points if not math.isnan(point[1])]
    value = points[-1][1] if points else math.nan
    coloured = panel.json["options"]["colorMode"] == "background"
    colour = "blue"
    for step in _defaults(panel)["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    box = page.panel(panel.json["gridPos"], panel.title, COLOURS[colour] if coloured else PANEL)
    if panel.json["options"]["graphMode"] == "area" and len(points) > 1:
        axes = page.axes(box, left=0, right=0, top=box[3] * 0.55, bottom=0)
        axes.set_axis_off()
        at, values = zip(*points, strict=True)
        axes.plot(at, values, color=COLOURS[colour], linewidth=1.2)
        axes.fill_between(at, values, color=COLOURS[colour], alpha=0.2)
        axes.set_ylim(bottom=0)
        box = (box[0], box[1], box[2], box[3] * 0.75)
    page.number(box, _write(panel, value), "white" if coloured else COLOURS[colour])


def _timeseries(page: Page, panel: BoardPanel, answers: QueryResults) -> None:
    box = page.panel(panel.json["gridPos"], panel.title)
    axes = page.axes(box)
    stacked = _defaults(panel)["custom"].get("stacking", {}).get("mode") == "normal"
    beneath: dict[float, float] = {}
    entries = []
    for at, (name, series) in enumerate(named(panel, answers)):
        colour = PALETTE[at % len(PALETTE)]
        entries.append((name, colour))
        moments = [moment for moment, _ in series.points]
        values = np.array([value for _, value in series.points])
        floor = np.zeros(len(values))
        if stacked:
            floor = np.array([beneath.get(moment, 0.0) for moment, _ in series.points])
            values = values + floor
            beneath.update({moment: top for (moment, _), top in zip(series.points, values, strict=True) if top == top})  # noqa: PLR0124 - not NaN
        axes.fill_between(moments, floor, values, color=colour, alpha=0.3 if stacked else 0.08, linewidth=0)
        axes.plot(moments, values, color=colour, linewidth=1.6)
    _finish(axes, panel, page)
    page.legend(box, entries)


def _finish(axes: Axes, panel: BoardPanel, page: Page) -> None:
    """Axes of time and of the panel's unit, and the promise where it is in sight."""
    defaults = _defaults(panel)
    highest = max(float(np.nanmax(np.asarray(line.get_ydata(), dtype=float), initial=0)) for line in axes.lines)
    top = max(highest * 1.05 or 1, defaults["custom"].get("axisSoftMax") or 0)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, panel.unit)))
    _time_axis(axes, page)
    if defaults["custom"].get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= top:
                axes.axhline(step["value"], color=COLOURS[step["color"]], linestyle=(0, (6, 4)), linewidth=1.4)


def _time_axis(axes: Axes, page: Page) -> None:
    axes.xaxis.set_major_locator(FixedLocator(np.arange(page.span[0] // 30 * 30 + 30, page.span[1], 30).tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda moment, _: f"{datetime.fromtimestamp(moment, UTC):%H:%M:%S}"))
    axes.set_xlim(*page.span)


def _heatmap(page: Page, panel: BoardPanel, answers: QueryResults) -> None:
    box = page.panel(panel.json["gridPos"], panel.title)
    axes = page.axes(box)
    found = sorted(answers[0], key=lambda series: float(series.labels["le"]))
    moments = sorted({moment for series in found for moment, _ in series.points})
    column = {moment: at for at, moment in enumerate(moments)}
    cumulative = np.zeros((len(found), len(moments)))
    for row, series in enumerate(found):
        for moment, value in series.points:
            cumulative[row, column[moment]] = value
    cells = np.diff(cumulative, axis=0, prepend=0)
    shown = [row for row in range(len(found)) if cells[row].max() > 0]
    first, last = max(0, shown[0] - 1), min(len(found), shown[-1] + 2)
    cells = np.ma.masked_less_equal(cells[first:last], 1e-9)
    axes.pcolormesh([*moments, moments[-1] + 1], range(last - first + 1), cells, cmap="turbo")
    axes.set_yticks(range(1, last - first + 1), [_bound(series) for series in found[first:last]])
    axes.grid(visible=False)
    _time_axis(axes, page)
    page.legend(box, [("none", GRID), ("few", "#4676ee"), ("some", "#a4fc3c"), ("most", "#d23105")])


def _bound(series: Series) -> str:
    return "more" if series.labels["le"] == "+Inf" else written(float(series.labels["le"]), "s")


def _bars(page: Page, panel: BoardPanel, answers: QueryResults) -> None:
    box = page.panel(panel.json["gridPos"], panel.title)
    axes = page.axes(box, left=78, right=78, bottom=8)
    found = sorted(named(panel, answers), key=lambda pair: pair[1].points[-1][1])
    values = [series.points[-1][1] for _, series in found]
    gradient = LinearSegmentedColormap.from_list("bar", ["#1f3a63", "#5794f2"])
    for row, value in enumerate(values):
        axes.barh(row, max(values), height=0.5, color=GRID)
        axes.imshow(
            [np.linspace(0, 1, 64)], extent=(0, value, row - 0.25, row + 0.25), aspect="auto", cmap=gradient, zorder=2
        )
        axes.text(max(values) * 1.03, row, _write(panel, value), va="center", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlim(0, max(values))
    spare = max(0, 4 - len(values)) / 2
    axes.set_ylim(-0.75 - spare, len(values) - 0.25 + spare)
    axes.set_yticks(range(len(values)), [name for name, _ in found], fontsize=10, color=INK)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _table(page: Page, panel: BoardPanel, answers: QueryResults) -> None:
    box = page.panel(panel.json["gridPos"], panel.title)
    axes = page.axes(box, left=0, right=0, bottom=0)
    axes.set_axis_off()
    organized = panel.json["transformations"][0]["options"]
    columns = {
        label: organized["renameByName"][label]
        for label in sorted(organized["indexByName"], key=organized["indexByName"].get)
    }
    found = sorted(answers[0], key=lambda series: -series.points[-1][1])[:_ROWS_OF_A_TABLE]
    axes.set_xlim(0, 1)
    axes.set_ylim(_ROWS_OF_A_TABLE + 0.8, -0.2)
    places = [at / len(columns) for at in range(len(columns))]
    for place, (label, title) in zip(places, columns.items(), strict=True):
        axes.text(place, 0.25, title, color="#6e9fff", fontweight="bold", fontsize=9)
        for row, series in enumerate(found):
            text = _write(panel, series.points[-1][1]) if label == "Value" else series.labels.get(label, "")
            axes.text(place, row + 1.25, text, fontsize=9)
    for row in range(len(found)):
        axes.axhline(row + 0.55, color=GRID, linewidth=0.8)
    if len(answers[0]) > _ROWS_OF_A_TABLE:
        axes.text(1, 0.25, f"{len(answers[0])} rows, scroll", color=FAINT, fontsize=8, ha="right")


_KINDS: Mapping[str, Callable[[Page, BoardPanel, QueryResults], None]] = {
    "stat": _stat,
    "timeseries": _timeseries,
    "heatmap": _heatmap,
    "bargauge": _bars,
    "table": _table,
}
