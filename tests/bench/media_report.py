"""Plot and table of `make bench-media`, with the limits."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console
from rich.table import Table

BAR_MS = 20.0
"""A frame that is sent later than this after its due time is late: the length of one frame."""


def plot(results: dict[str, Any], file: Path) -> None:
    """Plot CPU and lateness over the number of calls."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    names = {
        "both_ways": "speech both ways",
        "talk42_dtx": "42 % talk, DTX",
        "from_source": "both ways, not compiled",
        "stock_aiortc": "both ways, stock aiortc",
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for key, name in names.items():
        steps = results["steps"][key]
        calls = [step["calls"] for step in steps]
        left.plot(calls, [step["cpu_pct"] for step in steps], marker="o", label=name)
        right.plot(calls, [step["lateness_p99_ms"] for step in steps], marker="o", label=name)
    left.set(xlabel="calls", ylabel="CPU, % of one core", title="What calls cost", ylim=(0, 105))
    right.set(xlabel="calls", ylabel="ms", title="How late frames leave (p99)", yscale="log")
    right.axhline(BAR_MS, color="grey", linestyle="--", linewidth=1)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=110)


def show(results: dict[str, Any], console: Console) -> None:
    """Print the figures."""
    table = Table(title="The media process on one core", title_justify="left")
    for name in ("figure", "must", "aim", "measured"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    density, pesq, added = results["calls_per_core"], results["pesq"], results["added_latency_p95_ms"]
    for row in (
        ("calls, speech both ways, p99 lateness ≤ 20 ms", "100", "140", density["both_ways"]),
        ("calls, 42 % talk, DTX both ways", "180", "240", density["talk42_dtx"]),
        ("calls, both ways, not compiled", "", "", density["from_source"]),
        ("calls, both ways, stock aiortc", "", "", density["stock_aiortc"]),
        ("memory per call, MB", "0.6", "0.4", results["rss_mb_per_call"]),
        ("frames at the gate at 3 % loss, %", "99", "", results["gate_delivered_pct_at_3pct_loss"]),
        ("PESQ up/down, 0 % loss", "4.0", "", f"{pesq['up_0']}/{pesq['down_0']}"),
        ("PESQ up/down, 5 % loss", "3.2", "", f"{pesq['up_5']}/{pesq['down_5']}"),
        ("added latency up/down, p95 ms", "60", "40", f"{added['up']}/{added['down']}"),
        ("set-up at 100 calls, p95 ms", "500", "300", results["setup_p95_ms"]),
        ("set-up at the most calls, p95 ms", "", "", results["setup_p95_ms_at_most_calls"]),
        ("frames late at 100 calls, p99 ms", "20", "", results["lateness_p99_ms_at_100_calls"]),
    ):
        table.add_row(*(str(value) for value in row))
    console.print(table)
