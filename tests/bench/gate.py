"""The gate on labelled recordings: what is delivered and billed, how soon turns end, and what it costs.

Runs the shipped gate (`hushgate gate --stdio`, with the settings of the environment) on a generated set, and on the
recordings of --shared where they are present. Writes docs/bench/gate.json and the plots of docs/gate.md.
"""

import argparse
import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from services.contracts.audio import UP_FRAME_BYTES
from services.gate.core.measures import GateFigures, GateTrace, Labels, StreamFigures, measure, summary
from services.gate.core.replay import ScoredStream
from services.gate.options import gate_settings
from services.gate.tuning import score
from services.runtime import clock
from tests.bench import gate_plots, gate_set
from tests.bench.detector import cpu_us_100_calls, slot_ms_p99
from tests.bench.machine import cpu_model

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "bench" / "gate.json"
IMAGES = ROOT / "docs" / "images"
SHARED = ROOT.parent / "shared"
COMMAND = [sys.executable, "-m", "services.cli", "gate", "--stdio"]
COLUMNS = ("minutes", "delivered_pct", "billed_ratio", "eot_p50", "eot_p95", "false_opens_per_min", "missed_utt")
_OPEN, _CLOSED_NOW = 1, 2


@dataclass(frozen=True, slots=True)
class BenchStream:
    """A stream to be gated. ``cells``: the names of the groups whose figures it counts for."""

    cells: tuple[str, ...]
    frames: list[bytes]
    labels: Labels


def gated(frames: Sequence[bytes]) -> GateTrace:
    """Return what a process of the shipped gate does with a stream; its frames must differ from each other."""
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
    assert process.stdin
    assert process.stdout
    place = {pcm: index for index, pcm in enumerate(frames)}
    trace = GateTrace([-1] * len(frames), [])
    for index, pcm in enumerate(frames):
        process.stdin.write(pcm)
        process.stdin.flush()
        flags, low, high = process.stdout.read(3)
        for _ in range(low + 256 * high):
            trace.delivered_at[place[process.stdout.read(UP_FRAME_BYTES)]] = index
        trace.is_open.append(flags & _OPEN > 0 and not flags & _CLOSED_NOW)
    process.stdin.close()
    process.wait()
    return trace


def by_cell(figures: Sequence[tuple[tuple[str, ...], StreamFigures]]) -> dict[str, GateFigures]:
    """Return the figures of each cell, in the order in which they first occur."""
    names = dict.fromkeys(name for cells, _ in figures for name in cells)
    return {name: summary([found for cells, found in figures if name in cells]) for name in names}


def generated() -> list[BenchStream]:
    """Return the streams of the generated set."""
    return [BenchStream((made.cell,), made.frames, made.labels) for made in gate_set.streams()]


def shared_bench(folder: Path) -> ModuleType | None:
    """Return the benchmark of the shared recordings; None if it or they are not present."""
    file = folder / "bench" / "gate_bench.py"
    if not file.is_file() or not (folder / "data" / "speech" / "manifest.json").is_file():
        return None
    spec = importlib.util.spec_from_file_location("gate_bench", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shared_report(bench: ModuleType, made: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the report of the benchmark itself."""
    gate = bench.CmdGate(shlex.join(COMMAND))
    rows = []
    for stream in track(made, "shared recordings", console=Console(stderr=True)):
        sent, is_open, events, _ = gate.run(stream)
        rows.append((stream, bench.metrics(stream, *bench.to_arrays(stream, sent, is_open, events))))
    report: dict[str, Any] = bench.report(rows)
    return report


def of_shared(bench: ModuleType, made: Mapping[str, Any]) -> BenchStream:
    """Return a stream of the shared recordings."""
    pcm = made["pcm"].tobytes()
    frames = [pcm[at : at + UP_FRAME_BYTES] for at in range(0, len(pcm), UP_FRAME_BYTES)]
    speech, turns = (tuple((start, end) for start, end in made[name]) for name in ("speech", "turns"))
    return BenchStream(tuple(name for name, belongs in bench.CELLS if belongs(made)), frames, Labels(speech, (), turns))


def scored(streams: Sequence[BenchStream], detector: str) -> Iterator[gate_plots.PlottedStream]:
    """Yield the streams of the first cell with their scores."""
    settings = gate_settings({"VAD": detector})
    for stream in track(streams, f"scores of {detector}", console=Console(stderr=True)):
        found: ScoredStream = score(settings, [stream.frames], lambda _: None)[0]
        yield gate_plots.PlottedStream(found, stream.labels)


def main() -> int:
    """Measure, write the results, and print a table."""
    parser = argparse.ArgumentParser(prog="make bench-gate", description=__doc__)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of recordings (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go (default: %(default)s)")
    asked = parser.parse_args()
    streams = generated()
    progress = track(streams, "generated set", console=Console(stderr=True))
    results: dict[str, Any] = {
        "commit": commit(),
        "measured_at": clock.utc_now().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "detector": gate_settings({}).chosen_detector.name,
        "report": None,
        "cpu_us_100_calls": round(cpu_us_100_calls(), 1),
        "slot_ms_p99": round(slot_ms_p99(), 2),
        "generated": by_cell([(stream.cells, measure(stream.labels, gated(stream.frames))) for stream in progress]),
    }
    bench = shared_bench(asked.shared)
    if bench is None:
        sys.stderr.write(f"no recordings in {asked.shared}: the report has the generated set only\n")
    else:
        made = list(bench.streams(str(asked.shared / "data" / "speech")))
        results["report"] = shared_report(bench, made)
        streams = [of_shared(bench, stream) for stream in made]
    first = streams[0].cells[0]
    plotted = [stream for stream in streams if first in stream.cells]
    results["curves"] = gate_plots.curves({name: list(scored(plotted, name)) for name in gate_plots.DETECTORS})
    gate_plots.draw(results["curves"], IMAGES)
    asked.out.write_text(json.dumps(results, indent=2) + "\n")
    for title, cells in (("generated", results["generated"]), ("shared", results["report"] or {})):
        show(title, cells)
    return 0


def commit() -> str:
    """Return the commit that is measured, with a mark if files have changed since."""
    done = subprocess.run(
        ["/usr/bin/env", "git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def show(title: str, cells: Mapping[str, GateFigures]) -> None:
    """Print a table of the figures of each cell."""
    table = Table(title=title, title_justify="left")
    table.add_column("cell")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for cell, figures in cells.items():
        table.add_row(cell, *("" if figures[name] is None else f"{figures[name]:.2f}" for name in COLUMNS))
    Console(width=160).print(table)


if __name__ == "__main__":
    sys.exit(main())
