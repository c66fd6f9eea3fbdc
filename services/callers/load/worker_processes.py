"""The worker processes of a load run: starts them, reads their output, stops them."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from pydantic import ValidationError

from services.callers.core.figures import Failure, ProcessFigures
from services.callers.errors import CallerError
from services.callers.load.worker import (
    LINE,
    ORDER,
    WorkerFigures,
    WorkerLine,
    WorkerOrder,
    WorkerProgress,
    WorkerReady,
)
from services.runtime.process.settings import inherited_environment

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 90.0
"""To hang up and fetch the bills of all calls."""
_MAX_LINE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class WorkerProcess:
    """One worker process and its latest progress."""

    order: WorkerOrder
    process: asyncio.subprocess.Process
    progress: WorkerProgress = field(default_factory=WorkerProgress)
    account: ProcessFigures | None = None

    async def ready(self) -> None:
        """Wait until it has parsed its order.

        Raises:
            CallerError: it does not start.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                line = await self._line()
        except TimeoutError:
            line = None
        if not isinstance(line, WorkerReady):
            raise CallerError("a process of callers does not start: its error output is above")

    def start(self) -> None:
        """Start its calls."""
        self._stdin.write(b"go\n")

    def stop(self) -> None:
        """Let it hang up and report its figures."""
        self._stdin.close()

    async def follow(self) -> None:
        """Read its output until it exits. When it fails, only its own calls fail with it."""
        while (line := await self._line()) is not None:
            match line:
                case WorkerProgress():
                    self.progress = line
                case WorkerFigures(account=account):
                    self.account = account
        await self.process.wait()
        if self.account is None:
            self.account = ProcessFigures()
            text = f"a process of callers exited with code {self.process.returncode}"
            self.account.failed(Failure.RIG, text, len(self.order.calls))

    async def end(self) -> None:
        """Wait until it has exited; kill it if necessary."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        if self.process.stdin is None:
            raise CallerError("a process of callers has no stdin")
        return self.process.stdin

    async def _line(self) -> WorkerLine | None:
        """Its next line; None at the end, or when a line cannot be parsed."""
        text = await self.process.stdout.readline() if self.process.stdout else b""
        try:
            return LINE.validate_json(text) if text else None
        except ValidationError:
            return None


class WorkerProcesses:
    """All worker processes. A context manager, so that none is left running."""

    def __init__(self, orders: Sequence[WorkerOrder]) -> None:
        self._orders = orders
        self.members: list[WorkerProcess] = []

    async def __aenter__(self) -> Self:
        try:
            for order in self._orders:
                self.members.append(WorkerProcess(order, await _spawn(order)))
            await asyncio.gather(*(member.ready() for member in self.members))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def work(self, stop: asyncio.Event) -> ProcessFigures:
        """Run until they are done or ``stop`` is set; returns the merged figures."""
        for member in self.members:
            member.start()
        following = asyncio.create_task(self._follow(), name="follow")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for member in self.members:
            member.stop()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await following
        except TimeoutError:
            raise CallerError("a process of callers does not end: it was killed, and its figures are lost") from None
        whole = ProcessFigures()
        for member in self.members:
            whole.merge(member.account or ProcessFigures())
        return whole

    @property
    def progress(self) -> WorkerProgress:
        """The sum of all processes' progress."""
        each = [member.progress for member in self.members]
        return WorkerProgress(
            placed=sum(p.placed for p in each),
            live=sum(p.live for p in each),
            failed=sum(p.failed for p in each),
            asked=sum(p.asked for p in each),
            answered=sum(p.answered for p in each),
        )

    async def _follow(self) -> bool:
        await asyncio.gather(*(member.follow() for member in self.members))
        return True

    async def _end(self) -> None:
        for member in self.members:
            await member.end()


async def _spawn(order: WorkerOrder) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.callers.load.worker",
        env=inherited_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MAX_LINE_BYTES,
        start_new_session=True,  # Ctrl-C reaches only us; they exit when our end of their stdin closes
    )
    if process.stdin is not None:
        process.stdin.write(ORDER.dump_json(order) + b"\n")
    return process
