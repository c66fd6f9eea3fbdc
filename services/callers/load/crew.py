"""The processes that call: starts them, hears them, stops them."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from pydantic import ValidationError

from services.callers.core.figures import Account, Failure
from services.callers.errors import CallerError
from services.callers.load.worker import LINE, ORDER, Done, Line, Order, Progress, Ready
from services.runtime.settings import inherited_environment

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 90.0
"""To hang up and collect the bills of all calls."""
_MAX_LINE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Member:
    """One process."""

    order: Order
    process: asyncio.subprocess.Process
    progress: Progress = field(default_factory=Progress)
    account: Account | None = None

    async def ready(self) -> None:
        """Wait until it has understood its order.

        Raises:
            CallerError: it does not come up.
        """
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                line = await self._line()
        except TimeoutError:
            line = None
        if not isinstance(line, Ready):
            raise CallerError("a process of callers does not start: its own words are above")

    def start(self) -> None:
        """Give the word."""
        self._stdin.write(b"go\n")

    def stop(self) -> None:
        """Let it hang up and give its account."""
        self._stdin.close()

    async def follow(self) -> None:
        """Hear it until it ends. A process that dies takes its calls with it, and only those."""
        while (line := await self._line()) is not None:
            match line:
                case Progress():
                    self.progress = line
                case Done(account=account):
                    self.account = account
        await self.process.wait()
        if self.account is None:
            self.account = Account()
            text = f"a process of callers died with exit code {self.process.returncode}"
            self.account.failed(Failure.RIG, text, len(self.order.calls))

    async def end(self) -> None:
        """See to it that it is gone."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        if self.process.stdin is None:
            raise CallerError("a process of callers has no stdin")
        return self.process.stdin

    async def _line(self) -> Line | None:
        """Its next line; None at the end, and for what is none."""
        text = await self.process.stdout.readline() if self.process.stdout else b""
        try:
            return LINE.validate_json(text) if text else None
        except ValidationError:
            return None


class Crew:
    """All of them. A context manager, so that none is left behind."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = orders
        self.members: list[Member] = []

    async def __aenter__(self) -> Self:
        try:
            for order in self._orders:
                self.members.append(Member(order, await _spawn(order)))
            await asyncio.gather(*(member.ready() for member in self.members))
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def work(self, stop: asyncio.Event) -> Account:
        """Let them call until they are done or ``stop`` is set; gives what all of them saw."""
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
        whole = Account()
        for member in self.members:
            whole.merge(member.account or Account())
        return whole

    @property
    def progress(self) -> Progress:
        """The sum."""
        each = [member.progress for member in self.members]
        return Progress(
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


async def _spawn(order: Order) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.callers.load.worker",
        env=inherited_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_MAX_LINE_BYTES,
        start_new_session=True,  # Ctrl-C is for us; they end when we close their stdin, however we end
    )
    if process.stdin is not None:
        process.stdin.write(ORDER.dump_json(order) + b"\n")
    return process
