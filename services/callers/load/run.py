"""Runs a load test; used by the command and by benchmarks."""

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.callers.core.figures import Figures, Point, ProcessFigures, Run, figures
from services.callers.core.requirement import Requirement, UnmetRequirement, unmet
from services.callers.core.simulated_caller import TalkProfile
from services.callers.errors import CallerError
from services.callers.load.clips import SpeechClips, prepare
from services.callers.load.options import CALLS_PER_PROCESS, LoadOptions
from services.callers.load.process_monitor import ProcessMonitor, concealed_frames
from services.callers.load.worker import WorkerOrder, WorkerProgress
from services.callers.load.worker_processes import WorkerProcesses

_LOOK_S = 1.0
_TOKEN_PREFIX = "ek_"  # noqa: S105 - what tokens begin with, not one
OnProgress = Callable[[float, WorkerProgress], None]
"""Called twice a second with the seconds since the start and the progress."""


@dataclass(frozen=True, slots=True)
class Results:
    """``figures``: plain values with the keys of docs/load.md. ``failures``: the first message of each kind."""

    figures: Figures
    account: ProcessFigures

    def unmet(self, requirements: Sequence[Requirement]) -> list[UnmetRequirement]:
        """Return the unmet ones of ``requirements``."""
        return [found for requirement in requirements if (found := unmet(requirement, self.figures))]

    @property
    def connected(self) -> int:
        """How many calls connected."""
        return self.account.connected


async def run_load(
    options: LoadOptions,
    *,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _seconds, _progress: None,
) -> Results:
    """Run the calls; ends after the set time, or in order when ``stop`` is set.

    Raises:
        SpeechError: the clips cannot be read or synthesised.
        CallerError: the options are contradictory, or this machine cannot run the callers.
    """
    if options.calls > 1 and options.key.startswith(_TOKEN_PREFIX):
        raise CallerError("an ek_ token is valid for one call: give a key that may mint tokens")
    if missing := set(options.cpus) - os.sched_getaffinity(0):
        raise CallerError(f"this machine has no CPU {', '.join(map(str, sorted(missing)))} for the callers")
    stop = stop or asyncio.Event()
    orders = _orders(options, await prepare(options.wav))
    concealed = await concealed_frames(options.up)
    async with WorkerProcesses(orders) as workers:
        machine = ProcessMonitor(options.up, [member.process.pid for member in workers.members])
        monitor = _RunMonitor(workers, machine, options, on_progress)
        monitoring = asyncio.create_task(monitor.run(), name="monitor")
        began = asyncio.get_running_loop().time()
        try:
            account = await workers.work(stop)
        finally:
            monitoring.cancel()
        seconds = asyncio.get_running_loop().time() - began
    run = Run(
        url=options.url,
        calls=options.calls,
        talk=options.talk,
        dtx=options.dtx,
        seconds=seconds,
        processes=len(orders),
        account=account,
        services=machine.usage(),
        machine_pct=machine.cpu_pct,
        points=monitor.points,
        gateway_concealed=_difference(concealed, await concealed_frames(options.up)),
        interrupted=stop.is_set(),
    )
    return Results(figures(run), account)


class _RunMonitor:
    """Samples progress and machine load until cancelled. Means cover the time in which all calls are placed."""

    def __init__(
        self, workers: WorkerProcesses, machine: ProcessMonitor, options: LoadOptions, on_progress: OnProgress
    ) -> None:
        self._workers = workers
        self._machine = machine
        self._on_progress = on_progress
        self._from_s = options.ramp_s + _LOOK_S
        self._until_s = options.ramp_s + 60 * options.minutes
        self.points: list[Point] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        began, averaging = loop.time(), False
        self._machine.start()
        while True:
            await asyncio.sleep(_LOOK_S)
            at_s = loop.time() - began
            progress = self._workers.progress
            self._on_progress(at_s, progress)
            if at_s > self._until_s:
                if averaging:
                    self._machine.stop()
                    averaging, self._from_s = False, math.inf
                continue  # they hang up and fetch bills: not measured
            self.points.append(Point(at_s, progress.live, self._machine.sample()))
            if at_s >= self._from_s and not averaging:
                averaging = True
                self._machine.start()


def _orders(options: LoadOptions, speech: SpeechClips) -> list[WorkerOrder]:
    available = os.cpu_count() or 1
    default_processes = min(math.ceil(options.calls / CALLS_PER_PROCESS), len(options.cpus) or available)
    processes = min(options.calls, options.processes or default_processes)
    return [
        WorkerOrder(
            url=options.url,
            key=options.key,
            session=options.session,
            calls=tuple((n, n / options.per_second) for n in range(first, options.calls, processes)),
            ends_s=options.ramp_s + 60 * options.minutes,
            manner=TalkProfile(talk=options.talk, dtx=options.dtx),
            clips=speech.clips,
            silence=speech.silence.hex(),
            cpus=options.cpus,
        )
        for first in range(processes)
    ]


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)
