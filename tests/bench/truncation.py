"""How far `heard_ms` is from what a real browser rendered when an answer was cut, with and without the page's reports.

Writes docs/bench/truncation.json and docs/images/truncation-error.png.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nats
import numpy as np
from nats.aio.msg import Msg
from playwright.async_api import Browser, Route, async_playwright
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from services.callers.speech import Clip, Samples, synthesise
from services.contracts import frame as frames
from services.contracts.audio import samples_to_ms
from services.contracts.frame import Kind
from services.contracts.messages import PlayoutReport, expect
from services.runtime import clock
from tests.bench.rendered import RenderedAudio
from tests.bench.truncation_report import Condition, CutMeasurement, as_json, plot, show
from tests.network.fate import Conditions
from tests.network.impairer import Impairer, impairer
from tests.system.conftest import CHROMIUM, CHROMIUM_ARGS
from tests.system.gateway import Up, running_up
from tests.system.page import CallPage, open_page

RESULTS = Path("docs/bench/truncation.json")
IMAGE = Path("docs/images/truncation-error.png")
EAR = (Path(__file__).parent / "truncation_ear.js").read_text()
CUTS_PER_CALL = 10
MAX_CALLS = 20
SPOKEN_EVERY = 5  # the others by `output_audio_buffer.clear`: the same cut without waiting for another answer
BEFORE_CUT_S = (0.8, 4.0)
AFTER_CUT_MS = 700
CUT_TIMEOUT_S = 20.0
INTERRUPTION = "what time is it"


@dataclass
class PlayoutReports:
    """Records media's playout reports."""

    cuts: "asyncio.Queue[tuple[int, int, PlayoutReport]]" = field(default_factory=asyncio.Queue)

    async def take(self, message: Msg) -> None:
        """A frame on its way up."""
        frame = frames.decode(message.data)
        if frame.kind is Kind.PLAYOUT_REPORT and (report := expect(PlayoutReport, frame.payload)).cut:
            self.cuts.put_nowait((frame.sent_unix_ms, samples_to_ms(frame.position), report))


class TruncationBench:
    """One gateway, one browser."""

    def __init__(self, up: Up, browser: Browser, wire: PlayoutReports, *, seed: int) -> None:
        self._up = up
        self._browser = browser
        self._wire = wire
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._interruption: Clip | None = None

    async def measure(self, condition: Condition, *, cuts: int, advance: Callable[[], None]) -> list[CutMeasurement]:
        """Cut ``cuts`` answers in as many calls as necessary."""
        self._interruption = self._interruption or await synthesise(INTERRUPTION)
        found: list[CutMeasurement] = []
        for _ in range(MAX_CALLS):
            async with self._line(condition.delay_ms) as network, self._page(network) as caller:
                await caller.page.evaluate("wanted => ear.reporting(wanted)", condition.reports)
                await caller.start_call()
                for number in range(min(CUTS_PER_CALL, cuts - len(found))):
                    try:
                        async with asyncio.timeout(CUT_TIMEOUT_S):
                            found.append(await self._cut(caller, spoken=number % SPOKEN_EVERY == SPOKEN_EVERY - 1))
                    except TimeoutError:
                        break  # a busy machine: the call is given up, and the next one makes up for it
                    advance()
                await caller.hang_up()
            if len(found) >= cuts:
                return found
        raise RuntimeError(f"only {len(found)} of {cuts} cuts in {MAX_CALLS} calls: is the machine too busy?")

    @staticmethod
    def _line(delay_ms: int) -> AbstractAsyncContextManager[Impairer | None]:
        """A network with this delay in each direction."""
        late = Conditions(delay_ms=delay_ms)
        return impairer(up=late, down=late) if delay_ms else nullcontext()

    @asynccontextmanager
    async def _page(self, network: Impairer | None) -> AsyncIterator[CallPage]:
        async def answer(route: Route) -> None:
            response = await route.fetch()
            sdp = await response.text()
            await route.fulfill(response=response, body=network.rewrite_answer(sdp) if network else sdp)

        async with open_page(self._browser, self._up.page_url, scripts=[EAR]) as caller:
            await caller.page.route("**/v1/realtime/calls", answer)
            yield caller

    async def _cut(self, caller: CallPage, *, spoken: bool) -> CutMeasurement:
        await self._ask(caller, "tell me a long story")
        truncated = len(await self._truncations())
        self._wire.cuts = asyncio.Queue()
        await asyncio.sleep(self._random.uniform(*BEFORE_CUT_S))
        if spoken and self._interruption:
            await caller.speak(self._interruption)
        else:
            await caller.page.evaluate("ear.send({type: 'output_audio_buffer.clear'})")
        at_ms, played_ms, report = await self._wire.cuts.get()
        await caller.event("conversation.item.truncated", number=truncated + 1)
        await asyncio.sleep(max(0.0, AFTER_CUT_MS / 1000 - (clock.unix_ms() - at_ms) / 1000))
        rendered = RenderedAudio.read(await caller.page.evaluate("ear.rendered()"))
        playout_ms = await caller.page.evaluate("ear.playoutDelayMs()")
        heard_ms, said = report.heard_ms, await self._said(truncated)
        at_tap = rendered.position_ms(said, at_ms, expected_ms=heard_ms)
        at_ear = rendered.position_ms(said, at_ms - playout_ms, expected_ms=heard_ms)
        await self._finish(caller)
        return CutMeasurement(
            believed_delay_ms=played_ms - heard_ms,
            tap_error_ms=None if at_tap is None else heard_ms - at_tap,
            ear_error_ms=None if at_ear is None else heard_ms - at_ear,
            after_cut_ms=None if at_tap is None else played_ms - at_tap,
            playout_delay_ms=playout_ms,
        )

    async def _ask(self, caller: CallPage, text: str) -> None:
        before = await self._count(caller, "output_audio_buffer.started")
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await caller.page.evaluate("event => ear.send(event)", {"type": "conversation.item.create", "item": item})
        await caller.page.evaluate("ear.send({type: 'response.create'})")
        await caller.event("output_audio_buffer.started", number=before + 1)

    async def _finish(self, caller: CallPage) -> None:
        """Wait for the end of the answer to the interruption, so that the next question follows silence."""
        await caller.page.evaluate("ear.settled()")
        await caller.page.evaluate("ear.forget()")

    async def _count(self, caller: CallPage, kind: str) -> int:
        return int(await caller.page.evaluate("kind => caller.events.filter(({type}) => type === kind).length", kind))

    async def _truncations(self) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self._up.service("rehearsal")) as http:
            truncations: list[dict[str, Any]] = (await http.get("/billing")).json()["sessions"][-1]["truncations"]
            return truncations

    async def _said(self, number: int) -> Samples:
        """The audio of the item that the provider truncated."""
        truncations = await self._truncations()
        async with httpx.AsyncClient(base_url=self._up.service("rehearsal")) as http:
            sound = await http.get(f"/audio/{truncations[number]['item_id']}")
        return np.frombuffer(sound.content, "<i2")


async def run(up: Up, conditions: Sequence[Condition], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure all conditions; results are written after each."""
    wire = PlayoutReports()
    bus = await nats.connect(up.read()["nats_url"])
    await bus.subscribe("hg.up.>", cb=wire.take)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    found: dict[Condition, list[CutMeasurement]] = {}
    results: dict[str, Any] = {}
    load = 0.0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(CHROMIUM_ARGS))
        bench = TruncationBench(up, browser, wire, seed=options.seed)
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            for condition in conditions:
                bar = progress.add_task(condition.name, total=options.cuts)
                advance: Callable[[], None] = lambda bar=bar: progress.advance(bar)  # type: ignore[misc]  # noqa: E731
                found[condition] = await bench.measure(condition, cuts=options.cuts, advance=advance)
                load = max(load, os.getloadavg()[0])
                results = as_json(found, browser=browser.version, load=load)
                options.out.write_text(json.dumps(results, indent=2) + "\n")
        await browser.close()
    await bus.drain()
    return results


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=40, help="per condition")
    parser.add_argument("--delays", type=int, nargs="+", default=[0, 80], help="one way, ms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--image", type=Path, default=IMAGE)
    options = parser.parse_args(arguments)
    conditions = [Condition(reports, delay_ms) for delay_ms in options.delays for reports in (True, False)]
    console = Console()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder, running_up(Path(folder) / "up") as up:
        results = asyncio.run(run(up, conditions, options, console))
        show(results, console)
        plot(results, options.image)
        console.print(f"written to {options.out} and {options.image}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
