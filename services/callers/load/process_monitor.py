"""CPU and memory of the services and the callers on this machine, and the gateway's own metrics."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from services.callers.core.bottleneck import CALLERS, THIS, ServiceLoad
from services.callers.core.clip import FRAME_S
from services.runtime import clock

_CONCEALED = "hushgate_concealed_seconds_total"
_NATS = "nats-server"
_MB = 1e6
_SCRAPE_TIMEOUT_S = 2.0
_CHILDREN_EVERY = 10  # samples: finding children reads all of /proc
_MOMENT_S = 1e-6  # avoids a division by zero


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """Seconds in which a thread ran, and in which it was runnable but waited for a CPU."""

    ran_s: float = 0.0
    waited_s: float = 0.0

    def since(self, before: "ThreadTime") -> "ThreadTime":
        """The difference to the earlier value ``before``."""
        return ThreadTime(self.ran_s - before.ran_s, self.waited_s - before.waited_s)


def busy_threads(pid: int) -> dict[int, ThreadTime]:
    """CPU times of each thread of a process; empty where the kernel does not report them (no Linux, no schedstat)."""
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            ran_ns, waited_ns, _ = file.read_text().split()
        except (OSError, ValueError):
            continue  # it exited
        found[int(file.parent.name)] = ThreadTime(int(ran_ns) / 1e9, int(waited_ns) / 1e9)
    return found


@dataclass(slots=True)
class _ServiceProcesses:
    """Processes that count as one service."""

    roots: list[psutil.Process]
    with_children: bool
    children: list[psutil.Process] = field(default_factory=list)
    looks: int = 0
    began_s: float = 0.0
    last_s: float = 0.0
    rss_mb: float = 0.0
    threads: dict[int, ThreadTime] = field(default_factory=dict)
    """CPU times of each thread at the start of the measurement."""

    def sample(self) -> float:
        """Return CPU seconds so far; records the memory."""
        cpu_s, rss = 0.0, 0
        if self.with_children and self.looks % _CHILDREN_EVERY == 0:
            self._find_children()
        self.looks += 1
        for process in (*self.roots, *self.children):
            try:
                times = process.cpu_times()
                cpu_s += times.user + times.system
                rss += process.memory_info().rss
            except psutil.Error:
                continue  # it exited
        self.rss_mb = max(self.rss_mb, rss / _MB)
        return max(cpu_s, self.last_s)

    def busy_threads(self) -> dict[int, ThreadTime]:
        """CPU times by thread id."""
        found: dict[int, ThreadTime] = {}
        for process in (*self.roots, *self.children):
            found |= busy_threads(process.pid)
        return found

    def busiest(self) -> ThreadTime | None:
        """The thread that was busiest since the measurement began; None where the kernel does not report it."""
        spent = [busy.since(self.threads.get(thread, ThreadTime())) for thread, busy in self.busy_threads().items()]
        return max(spent, key=lambda busy: busy.ran_s + busy.waited_s, default=None)

    def _find_children(self) -> None:
        self.children = []
        for root in self.roots:
            try:
                self.children += root.children(recursive=True)
            except psutil.Error:
                continue  # it exited


class ProcessMonitor:
    """Samples on each `sample`; the mean covers `start` to `stop`. ``callers``: pids of the caller processes."""

    def __init__(self, up: Mapping[str, Any] | None, callers: Sequence[int]) -> None:
        ours = {CALLERS: _alive(callers), THIS: [psutil.Process()]}
        # Without children: our parent process may have started the gateway, too.
        watched = {name: _ServiceProcesses(processes, with_children=False) for name, processes in ours.items()}
        self._watched = watched | _services(up)
        self._began = self._last = clock.monotonic()
        self._usage: dict[str, ServiceLoad] = {}
        self.cpu_pct: float | None = None
        """Utilisation of all CPUs during the measurement."""

    def start(self) -> None:
        """Start the measurement."""
        self._began = self._last = clock.monotonic()
        for watched in self._watched.values():
            watched.began_s = watched.last_s = watched.sample()
            watched.threads = watched.busy_threads()
        psutil.cpu_percent()  # resets the interval

    def sample(self) -> dict[str, float]:
        """Percent of a core that each service used since the last sample."""
        now = clock.monotonic()
        passed_s = max(_MOMENT_S, now - self._last)
        self._last = now
        found = {}
        for name, watched in self._watched.items():
            cpu_s = watched.sample()
            found[name] = 100 * (cpu_s - watched.last_s) / passed_s
            watched.last_s = cpu_s
        return found

    def usage(self) -> dict[str, ServiceLoad]:
        """Mean load between `start` and `stop`, and maximum memory."""
        if not self._usage:
            self.stop()
        return self._usage

    def stop(self) -> None:
        """End the measurement."""
        self.cpu_pct = psutil.cpu_percent()
        passed_s = max(_MOMENT_S, self._last - self._began)
        passed_busy_s = max(_MOMENT_S, clock.monotonic() - self._began)
        self._usage = {}
        for name, watched in self._watched.items():
            busiest = watched.busiest()
            self._usage[name] = ServiceLoad(
                100 * (watched.last_s - watched.began_s) / passed_s,
                watched.rss_mb,
                100 * (busiest.ran_s + busiest.waited_s) / passed_busy_s if busiest else None,
                100 * busiest.waited_s / passed_busy_s if busiest else None,
            )


def _services(up: Mapping[str, Any] | None) -> dict[str, _ServiceProcesses]:
    """The services in `up.json`, each with its child processes, nats-server, and `up` itself."""
    pids = {name: int(service["pid"]) for name, service in ((up or {}).get("services") or {}).items()}
    watched = {
        name: _ServiceProcesses(found, with_children=True) for name, pid in pids.items() if (found := _alive([pid]))
    }
    for service in list(watched.values())[:1]:
        try:
            parent = service.roots[0].parent()
            servers = [child for child in parent.children() if child.name() == _NATS] if parent else []
        except psutil.Error:
            continue  # it exited
        if parent and servers:
            watched["nats"] = _ServiceProcesses(servers, with_children=False)
            watched["up"] = _ServiceProcesses([parent], with_children=False)
    return watched


def _alive(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            found.append(psutil.Process(pid))
        except psutil.Error:
            continue  # it exited
    return found


async def concealed_frames(up: Mapping[str, Any] | None) -> int | None:
    """Frames that the media processes of ``up`` have concealed so far; None where their metrics cannot be read."""
    services = (up or {}).get("services") or {}
    urls = [str(service["http_url"]) for name, service in services.items() if name.startswith("media")]
    if not urls:
        return None
    seconds = 0.0
    async with httpx.AsyncClient(timeout=_SCRAPE_TIMEOUT_S) as http:
        for url in urls:
            try:
                text = (await http.get(f"{url}/metrics")).raise_for_status().text
            except httpx.HTTPError:
                return None
            seconds += sum(
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == _CONCEALED
            )
    return round(seconds / FRAME_S)
