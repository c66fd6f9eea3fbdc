"""Panels in a common style: each has a unit, a description with what to do, and thresholds for objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models import prometheus as queries

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED, BLUE = "green", "#EAB839", "red", "blue"
Unit = Literal["bytes", "cpm", "currencyUSD", "none", "ops", "percentunit", "pps", "reqps", "s", "short"]
Panel: TypeAlias = bargauge.Panel | heatmap.Panel | stat.Panel | table.Panel | timeseries.Panel
P = TypeVar("P", bargauge.Panel, heatmap.Panel, stat.Panel, table.Panel, timeseries.Panel)


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds at which a value turns yellow and red. ``above``: values above are good."""

    warn: float
    bad: float
    above: bool = False

    @property
    def steps(self) -> list[models.Threshold]:
        """Return Grafana's thresholds in ascending order."""
        ascending = [(None, RED), (self.bad, YELLOW), (self.warn, GREEN)]
        descending = [(None, GREEN), (self.warn, YELLOW), (self.bad, RED)]
        return [models.Threshold(value=at, color=colour) for at, colour in (ascending if self.above else descending)]


@dataclass(frozen=True, slots=True)
class About:
    """Title, unit and description of a panel. ``text``: what it shows and what to do."""

    title: str
    text: str
    unit: Unit
    width: int = 8
    height: int = 8
    decimals: int | None = None


def _described(panel: P, about: About) -> P:
    panel.title(about.title).description(about.text).unit(about.unit).datasource(SOURCE)
    panel.span(about.width).height(about.height)
    if about.decimals is not None:
        panel.decimals(about.decimals)
    return panel


def _target(query: Query, ref: str, *, instant: bool, shape: queries.PromQueryFormat) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref).datasource(SOURCE).format(shape)
    target.legend_format(query.legend or "__auto")
    return target.instant() if instant else target.range()


def _with_queries(
    panel: P,
    queries_of: Sequence[Query],
    *,
    instant: bool = False,
    shape: queries.PromQueryFormat = queries.PromQueryFormat.TIME_SERIES,
) -> P:
    for ref, query in zip("ABCDEFGH", queries_of, strict=False):
        panel.with_target(_target(query, ref, instant=instant, shape=shape))
    return panel


def _thresholds(steps: list[models.Threshold]) -> boards.ThresholdsConfig:
    return boards.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


_NOT_A_NUMBER = models.SpecialValueMap(
    options=models.DashboardSpecialValueMapOptions(
        match=models.SpecialValueMatch.NULL_AND_NAN, result=models.ValueMappingResult(text="-")
    )
)
"""Text shown for 0 / 0: nothing was measured."""


def tile(about: About, query: Query, limits: Thresholds | None = None, *, over_time: bool = False) -> stat.Panel:
    """Return a stat panel of one number, coloured by ``limits``; ``over_time``: latest value and sparkline."""
    steps = limits.steps if limits else [models.Threshold(value=None, color=BLUE)]
    panel = _with_queries(_described(stat.Panel(), about), [query], instant=not over_time)
    panel.thresholds(_thresholds(steps)).mappings([_NOT_A_NUMBER]).no_value("-")
    panel.color_scheme(boards.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.color_mode(shapes.BigValueColorMode.BACKGROUND if limits else shapes.BigValueColorMode.VALUE)
    panel.graph_mode(shapes.BigValueGraphMode.AREA if over_time else shapes.BigValueGraphMode.NONE)
    return panel.text_mode(shapes.BigValueTextMode.VALUE)


def lines(
    about: About, *queries_of: Query, limit: float | None = None, stacked: bool = False, top: float | None = None
) -> timeseries.Panel:
    """Return a time series panel. ``limit``: a dashed red line; ``top``: minimum of the axis's upper end."""
    panel = _with_queries(_described(timeseries.Panel(), about), queries_of)
    panel.min(0).line_width(2).fill_opacity(30 if stacked else 8).show_points(shapes.VisibilityMode.NEVER)
    panel.line_interpolation(shapes.LineInterpolation.LINEAR)
    panel.color_scheme(boards.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
    )
    panel.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if top is not None:
        panel.axis_soft_max(top)
    if limit is not None:
        steps = [models.Threshold(value=None, color=GREEN), models.Threshold(value=limit, color=RED)]
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return panel


def heat(about: About, query: Query) -> heatmap.Panel:
    """Return a heatmap of a histogram over time."""
    panel = _with_queries(_described(heatmap.Panel(), about), [query], shape=queries.PromQueryFormat.HEATMAP)
    panel.calculate(False).show_legend().mode(shapes.TooltipDisplayMode.SINGLE)
    panel.color(heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Turbo").steps(64))
    panel.y_axis(heatmap.YAxisConfig().unit(about.unit).axis_placement(shapes.AxisPlacement.LEFT))
    return panel.cell_gap(1).filter_values(heatmap.FilterValueRange().le(1e-9))


def bars(about: About, query: Query) -> bargauge.Panel:
    """Return a bar gauge of the largest values."""
    panel = _with_queries(_described(bargauge.Panel(), about), [query], instant=True)
    panel.min(0).thresholds(_thresholds([models.Threshold(value=None, color=BLUE)]))
    panel.color_scheme(boards.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.orientation(shapes.VizOrientation.HORIZONTAL).display_mode(shapes.BarGaugeDisplayMode.GRADIENT)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def rows(about: About, query: Query, *, columns: dict[str, str]) -> table.Panel:
    """Return a table. ``columns``: label to column title, in order; the number's label is `Value`."""
    panel = _with_queries(_described(table.Panel(), about), [query], instant=True, shape=queries.PromQueryFormat.TABLE)
    order = {label: at for at, label in enumerate(columns)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": columns}
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=options))
    return panel.sort_by([common.TableSortByFieldState().display_name(columns["Value"]).desc(True)])


class Board:
    """Builder of a dashboard with its variables; panels are added row by row."""

    def __init__(self, *, uid: str, title: str, text: str, variables: Sequence[str]) -> None:
        made = boards.Dashboard(title).uid(uid).description(text).tags(["hushgate"]).readonly()
        made.time("now-3h", "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
        made.link(
            boards.DashboardLink("Hushgate")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["hushgate"])
            .icon("external link")
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        made.with_variable(boards.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        for name in variables:
            made.with_variable(_variable(name))
        self._made = made.annotation(
            boards.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color(RED)
            .expr('ALERTS{alertname=~"Hushgate.*",alertstate="firing",namespace=~"$namespace"}')
        )
        self._panels = 0

    def row(self, title: str, *panels: Panel) -> None:
        """Add a row. Panels fill it from the left in a grid of 24 columns; neighbours have equal height."""
        self._made.with_row(boards.Row(title).id(self._next()))
        for panel in panels:
            self._made.with_panel(panel.id(self._next()))

    def build(self) -> models.Dashboard:
        """Return the dashboard as Grafana's model."""
        return self._made.build()

    def _next(self) -> int:
        self._panels += 1
        return self._panels


_VALUES = {
    "namespace": "label_values(hushgate_event_loop_tasks, namespace)",
    "provider": 'label_values(hushgate_cost_usd_total{namespace=~"$namespace"}, provider)',
    "tenant": 'label_values(hushgate_cost_usd_total{namespace=~"$namespace"}, tenant)',
}
"""Metric and label from which each variable gets its values."""


def _variable(name: str) -> boards.QueryVariable:
    made = boards.QueryVariable(name).label(name.capitalize()).datasource(SOURCE).query(_VALUES[name])
    made.multi(True).include_all(True).all_value(".*").sort(models.VariableSort.ALPHABETICAL_ASC)
    everything = models.VariableOption(text="All", value="$__all", selected=True)
    return made.current(everything).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
