"""A load run as a function: for the command, and for benches."""

import asyncio
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.callers.core.conversation import Manner
from services.callers.core.figures import Account, Figures, Point, Run, figures
from services.callers.core.requirement import Broken, Requirement, broken
from services.callers.errors import CallerError
from services.callers.load.crew import Crew
from services.callers.load.machine import Machine, concealed_frames
from services.callers.load.options import CALLS_PER_PROCESS, LoadOptions
from services.callers.load.speech import Speech, prepare
from services.callers.load.worker import Order, Progress

_LOOK_S = 1.0
_TOKEN_PREFIX = "ek_"  # noqa: S105 - what tokens begin with, not one
Watch = Callable[[float, Progress], None]
"""Is told twice a second: seconds since the start, and how far it is."""


@dataclass(frozen=True, slots=True)
class Results:
    """``figures``: plain values with the keys of docs/load.md. ``failures``: the first words of each kind."""

    figures: Figures
    account: Account

    def broken(self, requirements: Sequence[Requirement]) -> list[Broken]:
        """Which of ``requirements`` are not met."""
        return [found for requirement in requirements if (found := broken(requirement, self.figures))]

    @property
    def connected(self) -> int:
        """How many calls came up."""
        return self.account.connected


async def run_load(
    options: LoadOptions, *, stop: asyncio.Event | None = None, watch: Watch = lambda _seconds, _progress: None
) -> Results:
    """Make the calls; ends by itself, or early and in order when ``stop`` is set.

    Raises:
        SpeechError: what callers shall say cannot be had.
        CallerError: the options contradict themselves, or this machine cannot run the callers.
    """
    if options.calls > 1 and options.key.startswith(_TOKEN_PREFIX):
        raise CallerError("an ek_ token is good for one call: give a key that may mint tokens")
    if missing := set(options.cpus) - os.sched_getaffinity(0):
        raise CallerError(f"this machine has no CPU {', '.join(map(str, sorted(missing)))} for the callers")
    stop = stop or asyncio.Event()
    orders = _orders(options, await prepare(options.wav))
    concealed = await concealed_frames(options.up)
    async with Crew(orders) as crew:
        machine = Machine(options.up, [member.process.pid for member in crew.members])
        watching = _Watching(crew, machine, options, watch)
        looking = asyncio.create_task(watching.run(), name="watch")
        began = asyncio.get_running_loop().time()
        try:
            account = await crew.work(stop)
        finally:
            looking.cancel()
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
        points=watching.points,
        gateway_concealed=_difference(concealed, await concealed_frames(options.up)),
        interrupted=stop.is_set(),
    )
    return Results(figures(run), account)


class _Watching:
    """Looks at the crew and the machine until cancelled. The averages are of the time in which all calls are placed."""

    def __init__(self, crew: Crew, machine: Machine, options: LoadOptions, watch: Watch) -> None:
        self._crew = crew
        self._machine = machine
        self._watch = watch
        self._from_s = options.ramp_s + _LOOK_S
        self._until_s = options.ramp_s + 60 * options.minutes
        self.points: list[Point] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        began, averaging = loop.time(), False
        self._machine.begin()
        while True:
            await asyncio.sleep(_LOOK_S)
            at_s = loop.time() - began
            progress = self._crew.progress
            self._watch(at_s, progress)
            if at_s > self._until_s:
                if averaging:
                    self._machine.settle()
                    averaging, self._from_s = False, math.inf
                continue  # they hang up and pay: not what is measured
            self.points.append(Point(at_s, progress.live, self._machine.look()))
            if at_s >= self._from_s and not averaging:
                averaging = True
                self._machine.begin()


def _orders(options: LoadOptions, speech: Speech) -> list[Order]:
    available = os.cpu_count() or 1
    wanted = min(math.ceil(options.calls / CALLS_PER_PROCESS), len(options.cpus) or available)
    processes = min(options.calls, options.processes or wanted)
    return [
        Order(
            url=options.url,
            key=options.key,
            session=options.session,
            calls=tuple((n, n / options.per_second) for n in range(first, options.calls, processes)),
            ends_s=options.ramp_s + 60 * options.minutes,
            manner=Manner(talk=options.talk, dtx=options.dtx),
            clips=speech.clips,
            silence=speech.silence.hex(),
            cpus=options.cpus,
        )
        for first in range(processes)
    ]


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)
