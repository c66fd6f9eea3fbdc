"""Starts the processes of the media bench: the services, a talker in place of upstream, each on its core."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.process.child import Child, ChildSpec
from services.up import plan
from services.up.console import LogConsole
from services.up.datadir import data_directory
from services.up.nats_server import nats_server
from services.up.options import parse

LATENESS = "hushgate_pacer_lateness_seconds"


@dataclass(frozen=True, slots=True)
class ServiceSample:
    """A sample of a service. ``lateness``: upper bound of each bucket in seconds, and frames up to it.

    ``stolen_s``: what its core gave to other machines; ``others_idle_s``: what the core of all else had to spare.
    """

    cpu_s: float
    rss_mb: float
    lateness: tuple[tuple[float, float], ...]
    dropped: float
    stolen_s: float
    others_idle_s: float

    def late(self, since: "ServiceSample", share: float) -> float:
        """The lateness in ms that ``share`` of the frames since then did not exceed, interpolated in its bucket."""
        before = dict(since.lateness)
        counts = [(bound, count - before.get(bound, 0.0)) for bound, count in self.lateness]
        total = counts[-1][1] if counts else 0.0
        if not total:
            return float("nan")
        low, passed = 0.0, 0.0
        for bound, count in counts:
            if count >= share * total:
                if bound == float("inf"):
                    return float("inf")
                return 1000 * (low + (bound - low) * (share * total - passed) / max(1.0, count - passed))
            low, passed = bound, count
        return float("inf")


@dataclass(frozen=True, slots=True)
class Rig:
    """The running processes."""

    url: str
    key: str
    pid: int
    metrics_url: str
    services: dict[str, int]

    async def see(self) -> ServiceSample:
        """Sample the process under test."""
        process = psutil.Process(self.pid)
        times = process.cpu_times()
        async with httpx.AsyncClient(timeout=10) as http:
            text = (await http.get(f"{self.metrics_url}/metrics")).text
        lateness, dropped = [], 0.0
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{LATENESS}_bucket":
                    lateness.append((float(sample.labels["le"]), sample.value))
                elif sample.name in {"hushgate_bus_frames_dropped_total", "hushgate_datagrams_unsent_total"}:
                    dropped += sample.value
        cores = psutil.cpu_times(percpu=True)
        return ServiceSample(
            cpu_s=times.user + times.system,
            rss_mb=process.memory_info().rss / 1e6,
            lateness=tuple(sorted(lateness)),
            dropped=dropped,
            stolen_s=cores[0].steal,
            others_idle_s=cores[-1].idle,
        )


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Pin processes started within the block to ``core``."""
    before = os.sched_getaffinity(0)
    if core < (os.cpu_count() or 1):  # where there is only one, all share it
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def gateway(
    folder: Path, *, answer_s: float, core: int = 0, others: int = 1, from_source: bool = False
) -> AsyncIterator[Rig]:
    """Run metering, signaling, a media process alone on ``core``, and a talker with answers of ``answer_s``.

    ``from_source``: the media process runs the sources, whatever the bench itself runs.
    """
    # Signaling fills a process to 70 % of what it says it can carry; the bench wants to find out what that is.
    os.environ["MEDIA_MAX_CALLS"] = "1000"  # noqa: TID251 - a child's
    with data_directory(folder) as data, on_core(others):
        options = parse(["--port", "0", "--data", str(folder), "--advertise", "127.0.0.1", "--log-format", "json"])
        async with nats_server(data.path, identities=plan.identities(options)) as nats:
            shared = plan.SharedSettings(
                options, data, nats, metering_token=secrets.token_urlsafe(32), page_secret=secrets.token_urlsafe(16)
            )
            children: dict[str, Child] = {}
            log = (folder / "services.log").open("w")
            console = LogConsole("json", log)
            try:
                metering = await _start(children, plan.metering(shared), console)
                with on_core(core):
                    spec = plan.media(shared)[0]
                    if from_source:
                        spec = replace(spec, environment={**spec.environment, "PYTHONPATH": str(Path.cwd())})
                    media = await _start(children, spec, console)
                async with _process(
                    "tests.bench.talker", "--nats", nats.url, "--answer-s", str(answer_s), core=others
                ) as talker:
                    signaling = await _start(children, plan.signaling(shared, metering_url=metering.http_url), console)
                    pids = {name: child.pid for name, child in children.items()}
                    services = {**pids, "talker": talker.pid, "nats-server": nats.process.pid}
                    yield Rig(signaling.http_url, data.tenant_key, media.pid, media.http_url, services)
            finally:
                for child in reversed(list(children.values())):
                    await child.stop(5)
                log.close()


@asynccontextmanager
async def stock(port: int, *, core: int = 0, others: int = 1) -> AsyncIterator[Rig]:
    """Run the baseline alone on ``core``."""
    with on_core(others):
        async with _process("tests.bench.stock", "--port", str(port), core=core) as process:
            url = f"http://127.0.0.1:{port}"
            yield Rig(url, "stock", process.pid, url, {"stock": process.pid})


async def _start(children: dict[str, Child], spec: ChildSpec, console: LogConsole) -> Child:
    child = children[spec.name] = Child(spec, console, on_change=lambda: None)
    await child.start()
    return child


@asynccontextmanager
async def _process(module: str, *arguments: str, core: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command: Sequence[str] = (sys.executable, "-m", module, *arguments)
    with on_core(core):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline() if process.stdout else b""
        if line != b"ready\n":
            raise RuntimeError(f"{module} does not start")
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
