"""A media process as it ships, as a child on a real bus. The test is the worker, and the client behind a network."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import FRAME_MS, UP_FRAME_BYTES
from services.contracts.frame import Frame, Kind
from services.contracts.grant import Grant
from services.contracts.ids import CallId, TenantId, new_call_id, new_leg_id
from services.contracts.messages import Ended, Offer, OfferAnswered, UtteranceEnd, expect
from services.runtime import clock
from services.runtime.bus import Bus
from services.signaling.core.sdp import sanitise
from services.up.natsd import nats_server
from tests.media.worker import PROCESS, WORKER, Worker
from tests.network.browser import Browser
from tests.network.impairer import Impairer

ALIVE_S = 1.0
OFFER_S = 5.0
CONNECT_S = 20.0
EVERYTHING_PASSES = {"MEDIA_VAD_HANGOVER_MS": "5000", "MEDIA_VAD_TAIL_MS": "5000", "MEDIA_VAD_MAX_UTTERANCE_S": "600"}
"""The gate at its most patient: once open it lets pauses of up to five seconds pass with the speech around them."""


@dataclass(frozen=True, slots=True)
class Came:
    """A frame of the caller at the worker, how many the caller's microphone had taken by then, and when it was."""

    index: int
    pcm: bytes
    sent: int
    at_s: float = 0.0

    @property
    def lag(self) -> int:
        """How many frames the caller was ahead. Both count from a start of their own: only changes say something."""
        return self.sent - self.index


@dataclass
class Uptake:
    """All that the worker hears of one call."""

    spoken: Callable[[], int]
    frames: list[Came] = field(default_factory=list)
    closes: list[str] = field(default_factory=list)
    ended: Ended | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, frame: Frame) -> None:
        """Note what came."""
        match frame.kind:
            case Kind.AUDIO_UP:
                for number, at in enumerate(range(0, len(frame.payload), UP_FRAME_BYTES)):
                    pcm = frame.payload[at : at + UP_FRAME_BYTES]
                    self.frames.append(Came(frame.position + number, pcm, self.spoken(), clock.monotonic()))
            case Kind.UTTERANCE_END:
                self.closes.append(expect(UtteranceEnd, frame.payload).reason)
            case Kind.ENDED:
                self.ended = expect(Ended, frame.payload)
            case _:
                return
        self._news.set()
        self._news = asyncio.Event()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that frames bring about."""
        while not true():
            await self._news.wait()

    async def more(self, count: int) -> list[Came]:
        """The next ``count`` frames."""
        before = len(self.frames)
        await self.until(lambda: len(self.frames) >= before + count)
        return self.frames[before : before + count]


@dataclass
class LiveCall:
    """A call that is up."""

    id: CallId
    browser: Browser
    network: Impairer
    up: Uptake


@dataclass
class MediaHouse:
    """The process, its bus, and the worker that the test plays."""

    bus: Bus
    worker: Worker
    pid: int = 0
    http_url: str = ""
    uptakes: dict[CallId, Uptake] = field(default_factory=dict)

    def route(self, subject: str, data: bytes) -> None:
        """A frame of the process."""
        if uptake := self.uptakes.get(subjects.call_of(subject)):
            uptake.take(frames.decode(data))

    @asynccontextmanager
    async def call(self, network: Impairer, *, loss: float = 0.0) -> AsyncIterator[LiveCall]:
        """A call through ``network``; ``loss`` is what the client's encoder reckons with."""
        browser = Browser(loss=loss)
        call, uptake = new_call_id(), Uptake(lambda: browser.microphone.frames)
        self.uptakes[call] = uptake
        grant = Grant(tenant=TenantId("acme"), session={"model": "gpt-realtime"})
        alive = asyncio.create_task(self._keep_alive(call), name="alive")
        try:
            async with asyncio.timeout(CONNECT_S):
                offer = Offer(
                    call=call, leg=new_leg_id(), attempt=1, sdp=sanitise((await browser.offer()).encode()), grant=grant
                )
                answer = await self.bus.request(subjects.offer(PROCESS), offer, timeout_s=OFFER_S)
                assert isinstance(answer, OfferAnswered), answer
                await browser.accept(answer.sdp, network.rewrite_answer)
            yield LiveCall(call, browser, network, uptake)
        finally:
            alive.cancel()
            await browser.close()
            self.uptakes.pop(call)

    async def _keep_alive(self, call: CallId) -> None:
        while True:
            await self.worker.send(call, Kind.ALIVE)
            await asyncio.sleep(ALIVE_S)


@asynccontextmanager
async def media_house(folder: Path, **settings: str) -> AsyncIterator[MediaHouse]:
    """Start nats-server and one media process, with ``settings`` (``MEDIA_…``) besides the defaults."""
    async with nats_server(folder) as server, Bus.connect(server.url, name="test") as bus:
        house = MediaHouse(bus, Worker(bus))
        await house.worker.open()
        await bus.listen(subjects.up_of(WORKER), house.route)
        await bus.flush()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.media",
            env=_environment(server.url, folder) | settings,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        log = asyncio.create_task(_log(process.stdout, ready := asyncio.get_running_loop().create_future()), name="log")
        try:
            async with asyncio.timeout(CONNECT_S):
                house.http_url = await ready
            house.pid = process.pid
            yield house
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            await log


def _environment(nats_url: str, folder: Path) -> dict[str, str]:
    here = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}  # noqa: TID251 - a child's
    return here | {
        "MEDIA_NATS_URL": nats_url,
        "MEDIA_DATA_DIR": str(folder / "media"),
        "MEDIA_PROCESS_ID": PROCESS,
        "MEDIA_ADVERTISED_ADDRESS": "127.0.0.1",
        "MEDIA_DRAIN_TIMEOUT_S": "0.5",
        "MEDIA_LOG_FORMAT": "json",
    }


async def _log(reader: asyncio.StreamReader, ready: "asyncio.Future[str]") -> None:
    """Read what the process says to its end, so that it never has to wait; what it failed at is shown."""
    while line := await reader.readline():
        fields = json.loads(line)
        if fields.get("event") == "service_ready":
            ready.set_result(str(fields["http_url"]))
        elif fields.get("level") in {"error", "critical"}:
            sys.stderr.write(line.decode())
    if not ready.done():
        ready.set_exception(RuntimeError("the media process does not start"))


def frames_in(seconds: float) -> int:
    """How many frames last so long."""
    return round(seconds * 1000 / FRAME_MS)
