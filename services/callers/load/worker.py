"""A process of callers: an order comes by stdin, JSON lines go out by stdout. Stdin closed is the word to hang up."""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from aiortc import RTCCertificate
from aiortc.exceptions import InvalidStateError
from pydantic import TypeAdapter

from services.callers.core.clip import EncodedClip
from services.callers.core.conversation import Manner
from services.callers.core.figures import Account
from services.callers.load.call import LoadCall, Surroundings, Tokens
from services.callers.load.pacer import Pacer
from services.callers.load.voice import Voice
from services.callers.wire import Wire

_PROGRESS_S = 0.5
_HTTP_TIMEOUT_S = 30.0
_BILLS_AT_A_TIME = 8
_SETTLED_S = 2.0
"""After the last call was placed: by then it is connected, and what it made is there to stay."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one process has to do."""

    url: str
    key: str = field(repr=False)
    session: dict[str, Any]
    calls: tuple[tuple[int, float], ...]
    """Each call's number, and how many seconds after the start it is placed."""
    ends_s: float
    """Seconds after the start at which all hang up."""
    manner: Manner
    clips: tuple[EncodedClip, ...]
    silence: str
    """The payload of 20 ms of it, in hexadecimal."""
    cpus: tuple[int, ...] = ()
    """Which CPUs to use; none are all."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How it goes, twice a second."""

    kind: Literal["progress"] = "progress"
    placed: int = 0
    live: int = 0
    failed: int = 0
    asked: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The order is understood; the start is awaited."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Done:
    """The last line."""

    account: Account
    kind: Literal["done"] = "done"


Line = Ready | Progress | Done
ORDER: TypeAdapter[Order] = TypeAdapter(Order)
LINE: TypeAdapter[Line] = TypeAdapter(Line)
Tell = Callable[[Line], None]


class Worker:
    """The calls of this process."""

    def __init__(self, order: Order, tell: Tell) -> None:
        self._order = order
        self._tell = tell
        self._calls: list[LoadCall] = []
        self._account = Account()

    async def run(self, stop: asyncio.Event) -> None:
        """Place all calls, hang up at the end or when ``stop`` is set, and tell the account."""
        order = self._order
        async with httpx.AsyncClient(timeout=_HTTP_TIMEOUT_S) as http:
            pacer = Pacer(self._account.pacing)
            wire = Wire(http, order.url)
            shared = Surroundings(
                wire=wire,
                tokens=Tokens(wire, order.key, order.session),
                manner=order.manner,
                voice=Voice(order.clips, bytes.fromhex(order.silence)),
                pacer=pacer,
                account=self._account,
                certificate=RTCCertificate.generateCertificate(),
                bills=asyncio.Semaphore(_BILLS_AT_A_TIME),
            )
            telling = asyncio.create_task(self._tell_progress(), name="progress")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._end(stop), name="end")
                    for number, start_s in order.calls:
                        group.create_task(self._call(shared, number, start_s, stop), name=f"call {number}")
            finally:
                pacer.close()
                telling.cancel()
        self._tell(Done(self._account))

    async def _call(self, shared: Surroundings, number: int, start_s: float, stop: asyncio.Event) -> None:
        if await _happens(stop, within_s=start_s):
            return
        call = LoadCall(shared, number)
        self._calls.append(call)
        await call.run(stop)

    async def _end(self, stop: asyncio.Event) -> None:
        placed_s = self._order.calls[-1][1] + _SETTLED_S if self._order.calls else 0.0
        if not await _happens(stop, within_s=min(placed_s, self._order.ends_s)):
            gc.collect()
            gc.freeze()  # a search through all connections for garbage would hold up every call for 50 ms
        if not await _happens(stop, within_s=self._order.ends_s - placed_s):
            stop.set()

    async def _tell_progress(self) -> None:
        while True:
            turns = self._account.turns
            self._tell(
                Progress(
                    placed=len(self._calls),
                    live=sum(call.live for call in self._calls),
                    failed=sum(self._account.failures.values()),
                    asked=turns.asked,
                    answered=turns.answered,
                )
            )
            await asyncio.sleep(_PROGRESS_S)


async def _happens(event: asyncio.Event, *, within_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, within_s)):
            await event.wait()
    return event.is_set()


async def _until_closed(stop: asyncio.Event) -> None:
    """The parent holds our stdin open as long as it wants us to go on, or lives."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    try:
        await reader.read()
    finally:
        transport.close()
    stop.set()


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A call that is closed while it connects leaves such errors in tasks of aiortc; the report counts the call."""
    if not isinstance(context.get("exception"), InvalidStateError | ConnectionError):
        loop.default_exception_handler(context)


async def _serve(order: Order) -> None:
    asyncio.get_running_loop().set_exception_handler(_complain)
    stop = asyncio.Event()
    closing = asyncio.create_task(_until_closed(stop), name="stdin")
    try:
        await Worker(order, _write).run(stop)
    finally:
        closing.cancel()


def _write(line: Line) -> None:
    sys.stdout.write(LINE.dump_json(line).decode() + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the order, say that it is understood, wait for the word to start, work."""
    order = ORDER.validate_json(sys.stdin.buffer.readline())
    if order.cpus:
        os.sched_setaffinity(0, order.cpus)
    _write(Ready())
    if sys.stdin.buffer.readline():
        asyncio.run(_serve(order))
    return 0


if __name__ == "__main__":
    sys.exit(main())
