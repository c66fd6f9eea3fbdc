"""The report of a load run as one self-contained HTML file: tables and plots, light and dark."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from services.callers.core.figures import Figures
from services.callers.core.histogram import PER_MS, Histogram
from services.callers.load.plots import distribution, over_time
from services.callers.load.run import Results
from services.callers.load.terminal import DURATIONS, number, percent, usd
from services.runtime import clock


def write_html(results: Results, file: Path) -> None:
    """Write the report.

    Raises:
        OSError: ``file`` cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("services.callers.load", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "usd": usd}
    page = environment.get_template("report.html.j2").render(
        f=results.figures,
        durations=DURATIONS,
        plots=_plots(results),
        made_at=clock.utc_now().isoformat(timespec="seconds"),
    )
    file.write_text(page)


def _plots(results: Results) -> list[tuple[str, Markup]]:
    found = [(title, svg) for title, svg in _over_time(results.figures) if svg]
    account = results.account
    measured: tuple[tuple[str, Histogram], ...] = (
        ("Set-up", account.set_up),
        ("Turn latency", account.turns.latency),
        ("Barge-in", account.turns.barge_in),
        ("Spacing of received packets", account.received.spacing),
        ("Lateness of received packets", account.received.lateness),
    )
    found += [(title, distribution(h.counts, per_ms=PER_MS)) for title, h in measured if h.total]
    return [(title, Markup(svg)) for title, svg in found]  # noqa: S704 - our own plots: they hold names of services only


def _over_time(figures: Figures) -> list[tuple[str, str]]:
    series = figures["series"]
    if not series["at_s"]:
        return []
    return [
        ("Calls that are up", over_time(series["at_s"], {"calls": series["connected"]}, unit="calls")),
        ("CPU", over_time(series["at_s"], series["cpu_pct"], unit="% of a core")),
    ]
