"""What the services and the callers take of this machine, and what the gateway's own metrics say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from services.callers.core.bottleneck import CALLERS, THIS, Usage
from services.callers.core.clip import FRAME_S
from services.runtime import clock

_CONCEALED = "hushgate_concealed_seconds_total"
_NATS = "nats-server"
_MB = 1e6
_SCRAPE_TIMEOUT_S = 2.0
_CHILDREN_EVERY = 10  # looks: to find children means to read all of /proc
_MOMENT_S = 1e-6  # never divide by nothing


@dataclass(frozen=True, slots=True)
class Busy:
    """Seconds in which a thread ran, and in which it could have but for others on the CPUs."""

    ran_s: float = 0.0
    waited_s: float = 0.0

    def since(self, before: "Busy") -> "Busy":
        """What came after ``before``."""
        return Busy(self.ran_s - before.ran_s, self.waited_s - before.waited_s)


def busy_threads(pid: int) -> dict[int, Busy]:
    """How busy each thread of a process has been; empty where the kernel does not tell (no Linux, no schedstat)."""
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            ran_ns, waited_ns, _ = file.read_text().split()
        except (OSError, ValueError):
            continue  # it ended
        found[int(file.parent.name)] = Busy(int(ran_ns) / 1e9, int(waited_ns) / 1e9)
    return found


@dataclass(slots=True)
class _Watched:
    """Processes that count as one."""

    roots: list[psutil.Process]
    with_children: bool
    children: list[psutil.Process] = field(default_factory=list)
    looks: int = 0
    began_s: float = 0.0
    last_s: float = 0.0
    rss_mb: float = 0.0
    threads: dict[int, Busy] = field(default_factory=dict)
    """How busy each thread was until the average began."""

    def look(self) -> float:
        """CPU seconds so far; notes the memory."""
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
                continue  # it ended
        self.rss_mb = max(self.rss_mb, rss / _MB)
        return max(cpu_s, self.last_s)

    def busy_threads(self) -> dict[int, Busy]:
        """Each thread's, by its id."""
        found: dict[int, Busy] = {}
        for process in (*self.roots, *self.children):
            found |= busy_threads(process.pid)
        return found

    def busiest(self) -> Busy | None:
        """Of the thread that was busiest since the average began; None where the kernel does not tell."""
        spent = [busy.since(self.threads.get(thread, Busy())) for thread, busy in self.busy_threads().items()]
        return max(spent, key=lambda busy: busy.ran_s + busy.waited_s, default=None)

    def _find_children(self) -> None:
        self.children = []
        for root in self.roots:
            try:
                self.children += root.children(recursive=True)
            except psutil.Error:
                continue  # it ended


class Machine:
    """Looks when told; the average begins at `begin`. ``callers``: the processes that call."""

    def __init__(self, up: Mapping[str, Any] | None, callers: Sequence[int]) -> None:
        ours = {CALLERS: _alive(callers), THIS: [psutil.Process()]}
        # Without children: who runs us may have started the gateway, too.
        watched = {name: _Watched(processes, with_children=False) for name, processes in ours.items()}
        self._watched = watched | _services(up)
        self._began = self._last = clock.monotonic()
        self._usage: dict[str, Usage] = {}
        self.cpu_pct: float | None = None
        """How busy all CPUs were in that time."""

    def begin(self) -> None:
        """The average begins now."""
        self._began = self._last = clock.monotonic()
        for watched in self._watched.values():
            watched.began_s = watched.last_s = watched.look()
            watched.threads = watched.busy_threads()
        psutil.cpu_percent()  # from here on

    def look(self) -> dict[str, float]:
        """Percent of a core that each took since the last look."""
        now = clock.monotonic()
        passed_s = max(_MOMENT_S, now - self._last)
        self._last = now
        found = {}
        for name, watched in self._watched.items():
            cpu_s = watched.look()
            found[name] = 100 * (cpu_s - watched.last_s) / passed_s
            watched.last_s = cpu_s
        return found

    def usage(self) -> dict[str, Usage]:
        """The average between `begin` and `settle`, and the most memory."""
        if not self._usage:
            self.settle()
        return self._usage

    def settle(self) -> None:
        """The average ends now: what comes next is not measured."""
        self.cpu_pct = psutil.cpu_percent()
        passed_s = max(_MOMENT_S, self._last - self._began)
        passed_busy_s = max(_MOMENT_S, clock.monotonic() - self._began)
        self._usage = {}
        for name, watched in self._watched.items():
            busiest = watched.busiest()
            self._usage[name] = Usage(
                100 * (watched.last_s - watched.began_s) / passed_s,
                watched.rss_mb,
                100 * (busiest.ran_s + busiest.waited_s) / passed_busy_s if busiest else None,
                100 * busiest.waited_s / passed_busy_s if busiest else None,
            )


def _services(up: Mapping[str, Any] | None) -> dict[str, _Watched]:
    """The services of `up.json`, each with whatever it started; the nats-server beside them, and `up` itself."""
    pids = {name: int(service["pid"]) for name, service in ((up or {}).get("services") or {}).items()}
    watched = {name: _Watched(found, with_children=True) for name, pid in pids.items() if (found := _alive([pid]))}
    for service in list(watched.values())[:1]:
        try:
            parent = service.roots[0].parent()
            servers = [child for child in parent.children() if child.name() == _NATS] if parent else []
        except psutil.Error:
            continue  # it ended
        if parent and servers:
            watched["nats"] = _Watched(servers, with_children=False)
            watched["up"] = _Watched([parent], with_children=False)
    return watched


def _alive(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            found.append(psutil.Process(pid))
        except psutil.Error:
            continue  # it ended
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
