"""A media process as it is deployed, on a real bus, with a simulated worker and a client behind a network."""

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
from services.contracts.connect import WebRtcOffer
from services.contracts.frame import Frame, Kind
from services.contracts.grant import Grant
from services.contracts.ids import CallId, TenantId, new_call_id, new_leg_id
from services.contracts.messages import Ended, Offer, OfferAnswered, UtteranceEnd, expect
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.up.nats_server import nats_server
from tests.media.worker import PROCESS, WORKER, StubWorker
from tests.network.browser import BrowserPeer
from tests.network.impairer import Impairer
from tests.signaling.offers import sanitise

ALIVE_S = 1.0
OFFER_S = 5.0
CONNECT_S = 20.0
EVERYTHING_PASSES = {"MEDIA_VAD_HANGOVER_MS": "5000", "MEDIA_VAD_TAIL_MS": "5000", "MEDIA_VAD_MAX_UTTERANCE_S": "600"}
"""The longest hangover: once open, the gate sends pauses of up to five seconds along with the speech around them."""


@dataclass(frozen=True, slots=True)
class Came:
    """A frame received by the worker, when, and the number of frames that the microphone had captured by then."""

    index: int
    pcm: bytes
    sent: int
    at_s: float = 0.0

    @property
    def lag(self) -> int:
        """How many frames the caller was ahead. The counts have different origins: only differences are meaningful."""
        return self.sent - self.index


@dataclass
class Uptake:
    """The frames of one call that the worker received."""

    spoken: Callable[[], int]
    frames: list[Came] = field(default_factory=list)
    closes: list[str] = field(default_factory=list)
    ended: Ended | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, frame: Frame) -> None:
        """Record a frame."""
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
        """Wait until a condition on the received frames is true."""
        while not true():
            await self._news.wait()

    async def more(self, count: int) -> list[Came]:
        """Wait for the next ``count`` frames."""
        before = len(self.frames)
        await self.until(lambda: len(self.frames) >= before + count)
        return self.frames[before : before + count]


@dataclass
class LiveCall:
    """An established call."""

    id: CallId
    browser: BrowserPeer
    network: Impairer
    up: Uptake


@dataclass
class MediaHarness:
    """The process, its bus, and the simulated worker."""

    bus: Bus
    worker: StubWorker
    pid: int = 0
    http_url: str = ""
    uptakes: dict[CallId, Uptake] = field(default_factory=dict)

    def route(self, subject: str, data: bytes) -> None:
        """Route a frame of the process to its call."""
        if uptake := self.uptakes.get(subjects.call_of(subject)):
            uptake.take(frames.decode(data))

    @asynccontextmanager
    async def call(self, network: Impairer, *, loss: float = 0.0) -> AsyncIterator[LiveCall]:
        """Establish a call through ``network``; ``loss``: the packet loss that the client's encoder expects."""
        browser = BrowserPeer(loss=loss)
        call, uptake = new_call_id(), Uptake(lambda: browser.microphone.frames)
        self.uptakes[call] = uptake
        grant = Grant(tenant=TenantId("acme"), session={"model": "gpt-realtime"})
        alive = asyncio.create_task(self._keep_alive(call), name="alive")
        try:
            async with asyncio.timeout(CONNECT_S):
                connect = WebRtcOffer(sdp=sanitise((await browser.offer()).encode()))
                offer = Offer(call=call, leg=new_leg_id(), attempt=1, connect=connect, grant=grant)
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
async def media_harness(folder: Path, **settings: str) -> AsyncIterator[MediaHarness]:
    """Start nats-server and one media process, with ``settings`` (``MEDIA_…``) besides the defaults."""
    async with nats_server(folder) as server, Bus.connect(server.url, name="test") as bus:
        harness = MediaHarness(bus, StubWorker(bus))
        await harness.worker.open()
        await bus.subscribe(subjects.up_of(WORKER), harness.route)
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
                harness.http_url = await ready
            harness.pid = process.pid
            yield harness
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
    """Read the process's log to its end, so that its pipe never fills; print errors."""
    while line := await reader.readline():
        fields = json.loads(line)
        if fields.get("event") == "service_ready":
            ready.set_result(str(fields["http_url"]))
        elif fields.get("level") in {"error", "critical"}:
            sys.stderr.write(line.decode())
    if not ready.done():
        ready.set_exception(RuntimeError("the media process does not start"))


def frames_in(seconds: float) -> int:
    """Return the number of frames in ``seconds``."""
    return round(seconds * 1000 / FRAME_MS)
