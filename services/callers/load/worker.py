"""A process of callers: reads its order from stdin, writes JSON lines to stdout. Closing stdin makes it hang up."""

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
from services.callers.core.figures import ProcessFigures
from services.callers.core.simulated_caller import TalkProfile
from services.callers.endpoint_client import EndpointClient
from services.callers.load.call import LoadCall, LoadContext, TokenSource
from services.callers.load.pacer import Pacer
from services.callers.load.rtp_payloads import RtpPayloads

_PROGRESS_S = 0.5
_HTTP_TIMEOUT_S = 30.0
_BILLS_AT_A_TIME = 8
_SETTLED_S = 2.0
"""Seconds after the last call was placed: by then it is connected, and its objects are long-lived."""


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """The calls of one process."""

    url: str
    key: str = field(repr=False)
    session: dict[str, Any]
    calls: tuple[tuple[int, float], ...]
    """Each call's number, and its start in seconds after the common start."""
    ends_s: float
    """Seconds after the start at which all calls hang up."""
    manner: TalkProfile
    clips: tuple[EncodedClip, ...]
    silence: str
    """The Opus payload of 20 ms of silence, in hexadecimal."""
    cpus: tuple[int, ...] = ()
    """Which CPUs to use; empty: all."""


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """Progress, twice a second."""

    kind: Literal["progress"] = "progress"
    placed: int = 0
    live: int = 0
    failed: int = 0
    asked: int = 0
    answered: int = 0


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The order was parsed; the process waits for the start."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """The figures; the last line."""

    account: ProcessFigures
    kind: Literal["done"] = "done"


WorkerLine = WorkerReady | WorkerProgress | WorkerFigures
ORDER: TypeAdapter[WorkerOrder] = TypeAdapter(WorkerOrder)
LINE: TypeAdapter[WorkerLine] = TypeAdapter(WorkerLine)
LineWriter = Callable[[WorkerLine], None]


class LoadWorker:
    """Runs the calls of this process."""

    def __init__(self, order: WorkerOrder, tell: LineWriter) -> None:
        self._order = order
        self._report = tell
        self._calls: list[LoadCall] = []
        self._account = ProcessFigures()

    async def run(self, stop: asyncio.Event) -> None:
        """Place all calls, hang up at the end or when ``stop`` is set, and report the figures."""
        order = self._order
        async with httpx.AsyncClient(timeout=_HTTP_TIMEOUT_S) as http:
            pacer = Pacer(self._account.pacing)
            wire = EndpointClient(http, order.url)
            shared = LoadContext(
                wire=wire,
                tokens=TokenSource(wire, order.key, order.session),
                manner=order.manner,
                voice=RtpPayloads(order.clips, bytes.fromhex(order.silence)),
                pacer=pacer,
                account=self._account,
                certificate=RTCCertificate.generateCertificate(),
                bills=asyncio.Semaphore(_BILLS_AT_A_TIME),
            )
            telling = asyncio.create_task(self._report_progress(), name="progress")
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._end(stop), name="end")
                    for number, start_s in order.calls:
                        group.create_task(self._call(shared, number, start_s, stop), name=f"call {number}")
            finally:
                pacer.close()
                telling.cancel()
        self._report(WorkerFigures(self._account))

    async def _call(self, shared: LoadContext, number: int, start_s: float, stop: asyncio.Event) -> None:
        if await _happens(stop, within_s=start_s):
            return
        call = LoadCall(shared, number)
        self._calls.append(call)
        await call.run(stop)

    async def _end(self, stop: asyncio.Event) -> None:
        placed_s = self._order.calls[-1][1] + _SETTLED_S if self._order.calls else 0.0
        if not await _happens(stop, within_s=min(placed_s, self._order.ends_s)):
            gc.collect()
            gc.freeze()  # a full garbage collection would delay every call by 50 ms
        if not await _happens(stop, within_s=self._order.ends_s - placed_s):
            stop.set()

    async def _report_progress(self) -> None:
        while True:
            turns = self._account.turns
            self._report(
                WorkerProgress(
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


async def _stop_when_stdin_closes(stop: asyncio.Event) -> None:
    """Read stdin until it is closed: the parent closes it to stop us, and the kernel when the parent exits."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    try:
        await reader.read()
    finally:
        transport.close()
    stop.set()


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop errors of aiortc tasks of a call that is closed while it connects; the figures count the call."""
    if not isinstance(context.get("exception"), InvalidStateError | ConnectionError):
        loop.default_exception_handler(context)


async def _serve(order: WorkerOrder) -> None:
    asyncio.get_running_loop().set_exception_handler(_on_loop_error)
    stop = asyncio.Event()
    closing = asyncio.create_task(_stop_when_stdin_closes(stop), name="stdin")
    try:
        await LoadWorker(order, _write).run(stop)
    finally:
        closing.cancel()


def _write(line: WorkerLine) -> None:
    sys.stdout.write(LINE.dump_json(line).decode() + "\n")
    sys.stdout.flush()


def main() -> int:
    """Read the order, report readiness, wait for the start, run."""
    order = ORDER.validate_json(sys.stdin.buffer.readline())
    if order.cpus:
        os.sched_setaffinity(0, order.cpus)
    _write(WorkerReady())
    if sys.stdin.buffer.readline():
        asyncio.run(_serve(order))
    return 0


if __name__ == "__main__":
    sys.exit(main())
