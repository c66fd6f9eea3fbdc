"""Turn latency, barge-in latency, and the share of a call that was sent.

Runs against the `hushgate up` of --data, or starts one of its own. Writes docs/bench/first-call.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.callers.caller import Caller
from services.callers.conversation import ScriptedLine, take_turn
from services.callers.errors import CallerError
from services.callers.speech import Clip, synthesise
from services.callers.target import Target, running_target
from services.runtime import clock
from tests.system.gateway import running_up

RESULTS = Path("docs/bench/first-call.json")
QUESTIONS = ("what time is it", "hello", "count to five")
STORY = "tell me a long story"
INTERRUPTION = "what time is it"
SPOKEN_BEFORE_CUT_S = 1.5  # long enough that playout, not the first burst, is what stops
QUIET_S = 0.2  # ten packets: shorter than the hangover, so the next answer cannot be taken for the old one
ANSWER_TIMEOUT_S = 30.0
BILL_TIMEOUT_S = 10.0
WHOLE_TIMEOUT_S = 360.0
SESSION: dict[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
}


@dataclass(slots=True)
class TurnFigures:
    """The measurements, in ms unless named otherwise."""

    set_up: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    turns_by_media: list[float] = field(default_factory=list)
    barge_ins: list[float] = field(default_factory=list)
    barge_ins_by_media: list[float] = field(default_factory=list)
    speech_s: float = 0.0
    usage: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        sent = float(self.usage.get("sent_seconds", 0.0))
        return {
            "measured_at": clock.utc_now().isoformat(timespec="seconds"),
            "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
            "provider": self.usage.get("provider"),
            "set_up_ms": summary(self.set_up),
            "turn_latency_ms": summary(self.turns),
            "turn_latency_by_media_ms": summary(self.turns_by_media),
            "barge_in_stop_ms": summary(self.barge_ins),
            "barge_in_stop_by_media_ms": summary(self.barge_ins_by_media),
            "seconds": {
                "speech": round(self.speech_s, 3),
                "sent": sent,
                "gated": self.usage.get("gated_seconds"),
                "sent_per_speech": round(sent / self.speech_s, 3) if self.speech_s else None,
            },
        }


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Percentiles, interpolated within what was measured, and all values."""
    if not values:
        return {"n": 0}
    cuts = statistics.quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    return {
        "n": len(values),
        "p50": round(cuts[9], 1),
        "p95": round(cuts[18], 1),
        "max": round(max(values), 1),
        "all": [round(value, 1) for value in values],
    }


async def measure(target: Target, *, turns: int, barge_ins: int, progress: Progress) -> TurnFigures:
    """Make all calls.

    Raises:
        CallerError: a call did not go as it should.
    """
    figures = TurnFigures()
    clips = {text: await synthesise(text) for text in (*QUESTIONS, STORY, INTERRUPTION)}
    bar = progress.add_task("turns", total=turns)
    async with Caller.call(target.url, target.key, session=SESSION, events=["gate"]) as caller:
        await _begin(caller, figures)
        for number in range(turns):
            await _turn(caller, QUESTIONS[number % len(QUESTIONS)], clips, figures)
            progress.advance(bar)
        await caller.hang_up()
        figures.usage = await caller.bill(timeout_s=BILL_TIMEOUT_S) or {}
    bar = progress.add_task("barge-ins", total=barge_ins)
    for _ in range(barge_ins):
        async with Caller.call(target.url, target.key, session=SESSION, events=["gate"]) as caller:
            await _begin(caller, figures)
            await _barge_in(caller, clips, figures)
            await caller.hang_up()
        progress.advance(bar)
    return figures


async def _begin(caller: Caller, figures: TurnFigures) -> None:
    await caller.next_event("session.created", timeout_s=ANSWER_TIMEOUT_S)
    figures.set_up.append(1000 * caller.set_up.connected_s)


async def _turn(caller: Caller, text: str, clips: dict[str, Clip], figures: TurnFigures) -> None:
    turn = await take_turn(caller, ScriptedLine(text, clips[text]), timeout_s=ANSWER_TIMEOUT_S)
    figures.speech_s += turn.speech_s
    if turn.latency_ms is None:
        raise CallerError(f"{text!r} was answered without a sound")
    figures.turns.append(turn.latency_ms)
    figures.turns_by_media.extend(_gate_figure(caller, "answered", "latency_ms"))


async def _barge_in(caller: Caller, clips: dict[str, Clip], figures: TurnFigures) -> None:
    asked = await caller.speak(clips[STORY])
    await caller.audio_sink.first_sound(since_s=asked.ended_s, timeout_s=ANSWER_TIMEOUT_S)
    await asyncio.sleep(SPOKEN_BEFORE_CUT_S)
    spoken = await caller.speak(clips[INTERRUPTION])
    last = await caller.audio_sink.last_sound(
        since_s=spoken.started_s, quiet_s=QUIET_S, timeout_s=ANSWER_TIMEOUT_S, any_packet=True
    )
    if last.at_s > spoken.ended_s:
        raise CallerError("the answer went on until the end of the interruption")
    figures.barge_ins.append(1000 * (last.at_s - spoken.started_s))
    await caller.next_event("output_audio_buffer.cleared", timeout_s=ANSWER_TIMEOUT_S)
    figures.barge_ins_by_media.extend(_gate_figure(caller, "stopped", "stop_ms"))


def _gate_figure(caller: Caller, state: str, name: str) -> list[float]:
    """The latest value of media's own metric of that name, if any: it must be close to ours."""
    events = [received.event for received in caller.events.of("hushgate.gate")]
    return [float(event[name]) for event in events if event.get("state") == state][-1:]


def show(results: dict[str, Any], console: Console) -> None:
    """Print the figures."""
    table = Table(title="One call, end to end", title_justify="left")
    table.add_column("figure")
    for name in ("n", "p50", "p95", "max"):
        table.add_column(name, justify="right")
    for key, name in (
        ("set_up_ms", "set-up: offer to open data channel"),
        ("turn_latency_ms", "turn: true end of speech to first answer packet"),
        ("barge_in_stop_ms", "barge-in: onset to last answer packet"),
    ):
        row = results[key]
        table.add_row(name, str(row["n"]), *(f"{row[q]:.0f} ms" if q in row else "-" for q in ("p50", "p95", "max")))
    seconds = results["seconds"]
    console.print(table)
    console.print(
        f"{seconds['sent']} s sent for {seconds['speech']} s of speech ({seconds['sent_per_speech']}), "
        f"{seconds['gated']} s held back"
    )


async def _run(target: Target, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        async with asyncio.timeout(WHOLE_TIMEOUT_S):
            return (
                await measure(target, turns=options.turns, barge_ins=options.barge_ins, progress=progress)
            ).as_json()


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="data directory of a running `hushgate up`")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--barge-ins", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    console = Console()
    try:
        if options.data:
            results = asyncio.run(_run(running_target(options.data), options, console))
        else:
            with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder, running_up(Path(folder) / "up") as up:
                results = asyncio.run(_run(Target(up.url, up.tenant_key), options, console))
    except CallerError as exc:
        sys.stderr.write(f"turns: {exc}\n")
        return 1
    except TimeoutError:
        sys.stderr.write(f"turns: not finished within {WHOLE_TIMEOUT_S:g} s\n")
        return 1
    show(results, console)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
