"""How calls sound on a bad network: loss against jitter, both ways, scored by PESQ-WB.

Starts nats-server and one media process as it ships; the bench is the worker at one end and the browser at the other,
behind a seeded network. Writes docs/bench/network.json, docs/bench/network.md and docs/images/network-pesq.png.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from services.callers.errors import CallerError, SpeechError
from tests.bench.network import report
from tests.bench.network.analysis import NetworkResult, analyse
from tests.bench.network.cells import MATRIX, QUICK, Cell
from tests.bench.network.measure import LoopLag, ReceivedReading, record
from tests.bench.network.reading import SpokenReading, reading
from tests.media.process import EVERYTHING_PASSES, media_harness

SPEECH = Path("../shared/data/speech")
AT_ONCE = 2
"""Networks at a time, two calls each: few enough that the machine adds no jitter of its own."""


async def _record_all(
    cells: Sequence[Cell], whole: SpokenReading, settings: dict[str, str], seed: str, progress: Progress
) -> tuple[list[ReceivedReading], LoopLag]:
    bar = progress.add_task("calls", total=len(cells))
    found: dict[Cell, ReceivedReading] = {}
    places, lag = asyncio.Semaphore(AT_ONCE), LoopLag()

    async def one(cell: Cell) -> None:
        async with places:
            try:
                found[cell] = await record(harness, whole, cell, seed=seed)
            except* (TimeoutError, CallerError) as failed:
                progress.console.print(f"{cell.name}: no score, {failed.exceptions[0]!r}")
        progress.advance(bar)

    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder:
        async with media_harness(Path(folder), **EVERYTHING_PASSES, **settings) as harness:
            watching = asyncio.create_task(lag.keep_watching(), name="lag")
            async with asyncio.TaskGroup() as group:
                for cell in cells:
                    group.create_task(one(cell), name=cell.name)
            watching.cancel()
    return [found[cell] for cell in cells if cell in found], lag


def _analyse_all(
    recordings: Sequence[ReceivedReading], whole: SpokenReading, progress: Progress
) -> list[NetworkResult]:
    """After all calls: it would take the machine away from them."""
    bar = progress.add_task("scores", total=len(recordings))
    results = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        for result in workers.map(analyse, recordings, repeat(whole)):
            results.append(result)
            progress.advance(bar)
    return results


def _show(results: Sequence[NetworkResult], console: Console) -> None:
    table = Table(
        title="How calls sound on a bad network",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        collapse_padding=True,
    )
    for name in ("lost", "jitter", "PESQ up", "there", "delay", "down", "FEC", "concealed", "buffer"):
        table.add_column(name, justify="left" if name == "lost" else "right", no_wrap=True)
    for result in results:
        up, down = result.up, result.down
        table.add_row(
            result.cell.row,
            f"{result.cell.jitter_ms}",
            f"{up.pesq:.2f}",
            f"{up.why['delivered_pct']:.1f}",
            f"{up.why['delay_ms']}",
            f"{down.pesq:.2f}",
            f"{down.why['recovered_pct']:.1f}",
            f"{down.why['concealed_pct']:.1f}",
            f"{down.why['playout_ms']}",
        )
    table.caption = "there, FEC, concealed: % of the frames; jitter, delay, buffer: ms"
    console.print(table)


def _write(results: Sequence[NetworkResult], out: Path, circumstances: dict[str, Any]) -> None:
    (out / "bench").mkdir(parents=True, exist_ok=True)
    document = json.dumps(report.document(results, circumstances), indent=2, ensure_ascii=False)
    (out / "bench" / "network.json").write_text(document + "\n")
    (out / "bench" / "network.md").write_text(report.markdown(results))
    report.picture(results, out / "images" / "network-pesq.png")


def _circumstances(
    options: argparse.Namespace, whole: SpokenReading, recordings: Sequence[ReceivedReading], lag: LoopLag
) -> dict[str, Any]:
    return {
        "encoder": options.encoder or "default",
        "caller_opus": asdict(recordings[0].encoder_settings),
        "seed": options.seed,
        "sentences": [sentence.name for sentence in whole.sentences],
        "own_loop_late_ms": {"p50": lag.percentile(50), "p99": lag.percentile(99)},
    }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two networks only, written to build/ unless --out is given"
    )
    parser.add_argument("--encoder", help="MEDIA_ENCODER of the media process (default: its own)")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="labelled recordings (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="of the networks (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for the results (default: docs)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    options, console = _options(arguments), Console()
    cells = QUICK if options.quick else MATRIX
    out = options.out or Path("build" if options.quick else "docs")
    settings = {"MEDIA_ENCODER": options.encoder} if options.encoder else {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        whole, reason = asyncio.run(reading(options.speech))
        console.print(reason or f"{len(whole.sentences)} sentences, {whole.seconds:.0f} s, {len(cells)} networks")
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            recordings, lag = asyncio.run(_record_all(cells, whole, settings, options.seed, progress))
            results = _analyse_all(recordings, whole, progress)
    except SpeechError as exc:
        sys.stderr.write(f"network: {exc}\n")
        return 1
    if not results:
        sys.stderr.write("network: no call came to its end\n")
        return 1
    _show(results, console)
    console.print(f"this bench's own loop was late by {lag.percentile(50)} ms (p50), {lag.percentile(99)} ms (p99)")
    _write(results, out, _circumstances(options, whole, recordings, lag))
    console.print(f"written to {out}/bench/network.json, {out}/bench/network.md and {out}/images/network-pesq.png")
    return 0 if len(results) == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
