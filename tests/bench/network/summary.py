"""The few networks that the media bench quotes."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.network.analysis import analyse
from tests.bench.network.cells import Cell
from tests.bench.network.measure import record
from tests.bench.network.reading import reading
from tests.media.process import EVERYTHING_PASSES, media_harness

PERFECT, LOSSY, BAD = Cell(0.0, 0), Cell(0.03, 0), Cell(0.05, 0)


async def summary(speech: Path, *, seed: str = "1") -> dict[str, Any]:
    """PESQ at 0 and 5 % loss both ways, and the share of frames that reach the gate at 3 %."""
    whole, _ = await reading(speech)
    found = {}
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder:
        async with media_harness(Path(folder), **EVERYTHING_PASSES) as harness:
            for cell in (PERFECT, LOSSY, BAD):
                recording = await record(harness, whole, cell, seed=seed)
                found[cell] = await asyncio.to_thread(analyse, recording, whole)
    return {
        "pesq": {
            "up_0": round(found[PERFECT].up.pesq, 2),
            "down_0": round(found[PERFECT].down.pesq, 2),
            "up_5": round(found[BAD].up.pesq, 2),
            "down_5": round(found[BAD].down.pesq, 2),
        },
        "delivered_pct_at_3pct_loss": found[LOSSY].up.why["delivered_pct"],
    }
