"""Progress and figures of a load run on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from services.callers.core.figures import Figures
from services.callers.load import worker
from services.callers.load.options import LoadOptions
from services.callers.load.run import OnProgress

DURATIONS = (
    ("setup_ms", "set-up: offer → both ways open"),
    ("turn_ms", "turn: true end of speech → first sound of the answer"),
    ("turn_provider_ms", "  of it the provider: commit → its first audio"),
    ("turn_hangover_ms", "  of it the gate's hangover"),
    ("turn_gateway_ms", "  of it gateway and network: the rest"),
    ("barge_in_ms", "barge-in: onset of speech → last packet of the answer"),
    ("spacing_ms", "spacing of received packets"),
    ("lateness_ms", "lateness of received packets"),
)


@contextmanager
def progress_of(options: LoadOptions, console: Console) -> Iterator[OnProgress]:
    """Show a progress bar while the block runs; yields the function that updates it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    whole_s = options.ramp_s + 60 * options.minutes
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting callers", total=whole_s)

        def watch(at_s: float, at: worker.WorkerProgress) -> None:
            failed = f", {at.failed} failed" if at.failed else ""
            turns = f", {at.answered}/{at.asked} turns answered" if at.asked else ""
            text = f"{at.live} of {options.calls} calls up{failed}{turns}"
            over = at_s >= whole_s
            progress.update(bar, completed=min(at_s, whole_s), description="collecting the bills" if over else text)

        yield watch


def show(figures: Figures, console: Console) -> None:
    """Print the figures."""
    console.print(_head(figures))
    console.print(Text(figures["bottleneck"]["sentence"], style="bold"))
    console.print(_durations(figures))
    for line in _counts(figures):
        console.print(line)
    if figures["services"]:
        console.print(_services(figures))
    for note in figures["notes"]:
        console.print(Text(f"• {note}", style="dim"))


def _head(figures: Figures) -> Text:
    calls = figures["calls"]
    text = f"{calls['connected']} of {calls['asked']} calls connected at {figures['url']} in {figures['seconds']:.0f} s"
    reasons = ", ".join(f"{count} {reason}" for reason, count in calls["failed_by"].items() if count)
    return Text(text + (f"; failed: {reasons}" if reasons else ""), style="bold red" if reasons else "bold")


def _durations(figures: Figures) -> Table:
    table = Table(title="Milliseconds", title_justify="left")
    table.add_column("figure")
    for name in ("p50", "p95", "p99"):
        table.add_column(name, justify="right")
    for key, name in DURATIONS:
        table.add_row(name, *(number(figures[key][quantile]) for quantile in ("p50", "p95", "p99")))
    return table


def _counts(figures: Figures) -> Iterator[Text]:
    frames, turns, talk = figures["frames"], figures["turns"], figures["talk"]
    barge_ins, rig = figures["barge_ins"], figures["rig"]
    yield Text(
        f"Frames: {frames['sent']:,} sent, {frames['received']:,} received, {frames['lost']:,} lost, "
        f"{frames['concealed']:,} concealed"
    )
    yield Text(
        f"Turns: {turns['answered']} of {turns['asked']} answered; barge-ins: {barge_ins['stopped']} of "
        f"{barge_ins['tried']} stopped the answer; callers talked {percent(talk['measured'])} of the time"
    )
    yield Text(f"Cost: {usd(figures['cost_usd'])}, saved: {usd(figures['saved_usd'])}")
    yield Text(
        f"Rig: {rig['processes']} processes, {number(rig['cpu_pct_per_call'], digits=2)} % of a core per call, "
        f"own packets late p99 {number(rig['pacing_ms']['p99'])} ms"
    )


def _services(figures: Figures) -> Table:
    table = Table(title="Processes on this machine", title_justify="left")
    table.add_column("service")
    table.add_column("CPU, % of a core", justify="right")
    table.add_column("busiest thread, %", justify="right")
    table.add_column("memory, MB", justify="right")
    for name, usage in figures["services"].items():
        table.add_row(name, number(usage["cpu_pct"]), number(usage["busiest_pct"]), f"{usage['rss_mb']:.0f}")
    return table


def number(value: Any, *, digits: int = 1) -> str:  # noqa: ANN401 - a figure or none
    """Format a number for a table; None is a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001 - a dash is meant


def percent(share: float | None) -> str:
    """Format a share as percent."""
    return "–" if share is None else f"{100 * share:.0f} %"  # noqa: RUF001 - a dash is meant


def usd(value: float | None) -> str:
    """Format an amount of dollars."""
    return "unknown" if value is None else f"${value:.4f}"
