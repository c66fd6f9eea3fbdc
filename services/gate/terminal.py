"""Tables and progress of `hushgate gate` on a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from services.gate.analysis import AnalysedFile, AnalysedStream, OnAnalysed, UnreadableFile

_MAX_UTTERANCES = 60
"""More are not listed: `--json` has them all."""


@contextmanager
def progress_bar(title: str, total: float | None) -> Iterator[OnAnalysed]:
    """Show a progress bar on standard error while the block runs, if that is a terminal; None: the total is unknown."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=total)
        yield lambda done: progress.advance(bar, done)


def show(results: Sequence[AnalysedFile | UnreadableFile], detector: str, console: Console) -> None:
    """Print what the gate does with each stream, then the files that could not be read."""
    table = Table(title=f"What the gate sends, with {detector}", title_justify="left")
    table.add_column("recording", overflow="fold")
    for name in ("seconds", "sent, s", "saved", "turns", "eager, back"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("opens by cause")
    table.add_column("closes by reason")
    for result in results:
        if isinstance(result, AnalysedFile):
            for stream in result.streams:
                table.add_row(*_row(stream, result.seconds))
    if table.row_count:
        console.print(table)
    streams = [stream for result in results if isinstance(result, AnalysedFile) for stream in result.streams]
    if sum(len(stream.decisions.opens) for stream in streams) <= _MAX_UTTERANCES:
        for stream in streams:
            console.print(_utterances(stream))
    for result in results:
        if isinstance(result, UnreadableFile):
            console.print(Text(f"{result.path}: {result.reason}", style="bold red"))


def _utterances(stream: AnalysedStream) -> Table:
    """Return when each utterance of a stream opened and closed, and why."""
    decisions = stream.decisions
    table = Table(title=f"Utterances of {stream.name}", title_justify="left")
    for name in ("opened, s", "why", "closed, s", "why"):
        table.add_column(name, justify="right" if name.endswith("s") else "left")
    for opened, closed in zip(decisions.opens, decisions.closes, strict=True):
        table.add_row(_seconds(opened["ms"]), opened["cause"], _seconds(closed["ms"]), closed["reason"])
    return table


def _seconds(ms: int) -> str:
    return f"{ms / 1000:,.2f}"


def _row(stream: AnalysedStream, seconds: float) -> tuple[str, ...]:
    decisions = stream.decisions
    return (
        stream.name,
        f"{seconds:,.1f}",
        f"{decisions.sent_ms / 1000:,.1f}",
        f"{100 * decisions.share_saved:.1f} %",
        str(len(decisions.turn_ends_ms)),
        f"{decisions.eager_ends}, {decisions.taken_back}",
        _counts([opened["cause"] for opened in decisions.opens]),
        _counts([closed["reason"] for closed in decisions.closes]),
    )


def _counts(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common()) or "none"
