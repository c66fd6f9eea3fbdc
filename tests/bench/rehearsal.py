"""How many sessions the rehearsal serves on one core: callers that talk 42 % of the time, over real WebSockets.

The rehearsal runs on the last CPU, the clients on the others. Writes docs/bench/rehearsal.json.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import websockets
from rich.console import Console
from rich.table import Table

from services.callers.core.histogram import Histogram
from services.callers.speech import resampled, synthesise
from services.runtime import clock
from services.runtime.process.child import Child, ChildSpec
from tests.bench.machine import cpu_model

TALK = 0.42
APPEND_MS = 40
"""Audio per message, as upstream sends it."""
_HZ = 24_000
_HANGOVER_MS = 500
"""The gate's hangover before the commit; this silence is sent, too."""
_LISTEN_S = (2.0, 4.0)
"""How much of an answer is received before the caller interrupts it, as in `hushgate load`."""
_PHRASES = (
    "what time is it",
    "tell me a long story",
    "count to ten",
    "hello",
    "what can you do",
    "what is the weather like today",
)
_REPORT = Path(__file__).parents[2] / "docs" / "bench" / "rehearsal.json"
_ANSWER_TIMEOUT_S = 20.0


@dataclass(slots=True)
class ClientMeasurements:
    """Measurements of the clients of one run."""

    asked: int = 0
    answered: int = 0
    first_audio: Histogram = field(default_factory=Histogram)
    """From the commit to the first audio delta."""
    late: Histogram = field(default_factory=Histogram)
    """How late the clients themselves sent."""
    spoken_s: float = 0.0


class _Quiet:
    """Discards the log of the rehearsal."""

    def write_child_event(self, child: str, event: Mapping[str, Any], /) -> None:
        pass

    def write_event(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        pass


def _said(**event: object) -> str:
    return json.dumps(event, separators=(",", ":"))


CONFIGURE = _said(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
COMMIT = _said(type="input_audio_buffer.commit")
RESPOND = _said(type="response.create")


async def appends() -> list[list[str]]:
    """The messages of each phrase, followed by the silence of the gate's hangover."""
    phrases = []
    for text in _PHRASES:
        clip = resampled(await synthesise(text), hz=_HZ)
        pcm = clip.samples.astype("<i2").tobytes() + bytes(_HANGOVER_MS * _HZ // 1000 * 2)
        size = APPEND_MS * _HZ // 1000 * 2
        pieces = [pcm[start : start + size] for start in range(0, len(pcm), size)]
        phrases.append([_said(type="input_audio_buffer.append", audio=base64.b64encode(p).decode()) for p in pieces])
    return phrases


class BenchClient:
    """One session: speaks phrases up to its talk share, asks, receives, interrupts."""

    def __init__(self, url: str, phrases: list[list[str]], seen: ClientMeasurements, number: int) -> None:
        self._url = url
        self._phrases = phrases
        self._seen = seen
        self._chance = random.Random(number)  # noqa: S311 - variety, not secrecy
        self._first_audio = asyncio.Event()
        self._first_at = 0.0
        self._done = asyncio.Event()

    async def run(self, until: float) -> None:
        """Talk until the monotonic moment ``until``."""
        async with websockets.connect(self._url, compression=None, max_size=None) as socket:
            reading = asyncio.create_task(self._read(socket), name="read")
            try:
                await socket.send(CONFIGURE)
                await asyncio.sleep(self._chance.uniform(0, 5))
                while clock.monotonic() < until:
                    listen_s = self._chance.uniform(*_LISTEN_S)
                    await self._speak(socket, TALK / (1 - TALK) * listen_s)
                    if await self._ask(socket):
                        await asyncio.sleep(listen_s)
            finally:
                reading.cancel()

    async def _speak(self, socket: websockets.ClientConnection, seconds: float) -> None:
        due, ends = clock.monotonic(), clock.monotonic() + seconds
        while due < ends:
            for message in self._chance.choice(self._phrases):
                await socket.send(message)
                due += APPEND_MS / 1000
                self._seen.spoken_s += APPEND_MS / 1000
                self._seen.late.add((clock.monotonic() + APPEND_MS / 1000 - due) * 1000)
                await asyncio.sleep(max(0.0, due - clock.monotonic()))

    async def _ask(self, socket: websockets.ClientConnection) -> bool:
        self._first_audio.clear()
        self._seen.asked += 1
        asked = clock.monotonic()
        await socket.send(COMMIT)
        await socket.send(RESPOND)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await self._first_audio.wait()
        except TimeoutError:
            return False
        self._seen.answered += 1
        self._seen.first_audio.add((self._first_at - asked) * 1000)
        return True

    async def _read(self, socket: websockets.ClientConnection) -> None:
        async for message in socket:
            # Looked at and not parsed: the clients have one core for all sessions.
            if message.startswith('{"type":"response.output_audio.delta"') and not self._first_audio.is_set():  # type: ignore[arg-type]
                self._first_at = clock.monotonic()
                self._first_audio.set()


async def measure(url: str, pid: int, phrases: list[list[str]], sessions: int, seconds: float) -> dict[str, Any]:
    """Measure one number of sessions."""
    seen, process = ClientMeasurements(), psutil.Process(pid)
    until = clock.monotonic() + 6 + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(sessions):
            group.create_task(BenchClient(url, phrases, seen, number).run(until), name=f"client {number}")
        await asyncio.sleep(6)  # until all talk
        began, cpu_s = clock.monotonic(), _cpu_s(process)
        await asyncio.sleep(seconds)
        cpu_pct = 100 * (_cpu_s(process) - cpu_s) / (clock.monotonic() - began)
    return {
        "sessions": sessions,
        "turns": seen.asked,
        "answered": seen.answered,
        "recorded": await _recorded(url),
        "first_audio_ms": seen.first_audio.percentiles(),
        "cpu_pct": round(cpu_pct, 1),
        "cpu_pct_per_session": round(cpu_pct / sessions, 3),
        "rss_mb": round(process.memory_info().rss / 1e6),
        "clients_late_p99_ms": seen.late.quantile(0.99),
    }


def _cpu_s(process: psutil.Process) -> float:
    """CPU seconds of the service and its voice."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


async def _recorded(url: str) -> float:
    async with httpx.AsyncClient() as http:
        page = await http.get(url.replace("ws", "http", 1).partition("/v1")[0] + "/metrics")
    lines = [line for line in page.text.splitlines() if line.startswith("hushgate_rehearsal_recorded_answers_total")]
    counts: list[float] = [float(line.rpartition(" ")[2]) for line in lines]
    return sum(counts)


async def run(voice: str, counts: Sequence[int], seconds: float, settings: dict[str, str]) -> list[dict[str, Any]]:
    """Start a fresh rehearsal for each number of sessions."""
    cpus = sorted(os.sched_getaffinity(0))
    phrases, found = await appends(), []
    for sessions in counts:
        environment = {"REHEARSAL_VOICE": voice, "REHEARSAL_HTTP_PORT": "0", **settings}
        child = Child(ChildSpec("rehearsal", "rehearsal", environment, "REHEARSAL_HTTP_PORT"), _Quiet())
        os.sched_setaffinity(0, cpus[-1:])
        try:
            await child.start()
        finally:
            os.sched_setaffinity(0, cpus[:-1] or cpus)
        try:
            url = f"{child.http_url.replace('http', 'ws', 1)}/v1/realtime?model=gpt-realtime-2.1"
            found.append({"voice": voice, **await measure(url, child.pid, phrases, sessions, seconds)})
            Console().print(found[-1])
        finally:
            await child.stop(5)
    return found


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("voice", "sessions", "answered", "first audio p50, ms", "p95, ms", "CPU, % of a core", "memory, MB")
    for row in rows:
        first = row["first_audio_ms"]
        answered = f"{row['answered']} of {row['turns']}"
        cells = (row["voice"], row["sessions"], answered, first["p50"], first["p95"], row["cpu_pct"], row["rss_mb"])
        table.add_row(*map(str, cells))
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--light", type=int, nargs="*", default=[100, 200, 300, 400], help="sessions with recorded answers"
    )
    parser.add_argument("--full", type=int, nargs="*", default=[2, 4, 6, 8], help="sessions with one recogniser")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", type=Path, default=_REPORT)
    asked = parser.parse_args()
    one_ear = {"REHEARSAL_RECOGNISERS": "1", "REHEARSAL_SESSIONS_PER_RECOGNISER": "1000"}
    rows = asyncio.run(run("light", asked.light, asked.seconds, {}))
    rows += asyncio.run(run("full", asked.full, asked.seconds, one_ear))
    show(rows)
    report = {
        "measured_at": clock.utc_now().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "load_average": os.getloadavg()[0],
        "talk": TALK,
        "rows": rows,
    }
    asked.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
