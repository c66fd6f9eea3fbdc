"""Cost of a frame between leg and bus: calls with plain legs and a real nats-server, paced in real time.

Per frame, in microseconds of this process's CPU time: up with the gate closed, up with the gate open (webrtcvad is not
part of it), down while an answer plays. ``sync`` is the time inside `take` or `pull`; ``all`` is what the process
spent on it in real time at the frames' true pace, so with the bus, its task and its system calls, less the same loop
with calls that do nothing.
"""

import argparse
import asyncio
import statistics
import tempfile
import time  # noqa: TID251 - a bench reads the CPU's clock, which no service may
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from services.contracts import frame as frames
from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.contracts.connect import LegAnswer, LegOffer
from services.contracts.frame import Frame, Kind
from services.contracts.ids import Epoch, ItemId, ProcessId, SessionId, TenantId, WorkerId, new_call_id, new_leg_id
from services.contracts.messages import ClaimGranted
from services.media.call import Call
from services.media.call_details import CallDetails
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.speech.detector import Unbatched
from services.media.leg import LegConnected, LegInput, LegOpened, LegOwner, PacedBy
from services.media.speech_detection import SpeechDetection
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.up.nats_server import nats_server

CHUNK_SAMPLES = 8192
MeasuredStep = Callable[[int, int], object]
"""Called with the number of a call and of a frame."""
OWNER = ClaimGranted(
    worker=WorkerId("up-0"), epoch=Epoch(1), session=SessionId("sess_a"), provider="rehearsal", model="gpt-realtime"
)


class Fixed:
    """A detector with a constant result, without cost."""

    def __init__(self, *, speech: bool) -> None:
        self._speech = speech

    def set_threshold(self, threshold: float) -> None:
        """Grade nothing."""

    def probability(self, frame: PcmFrame) -> float:
        """Return the constant."""
        del frame
        return float(self._speech)


class BareLeg:
    """A leg that only stores its owner."""

    pace: PacedBy = "gateway"
    receive_delay_ms = 0
    receives_audio = True

    def __init__(self) -> None:
        self.id = new_leg_id()
        self.owner: LegOwner = IdleOwner()

    def attach(self, owner: LegOwner) -> None:
        """Store the owner."""
        self.owner = owner
        owner.on_leg_input(LegConnected(), now=clock.monotonic())
        owner.on_leg_input(LegOpened(), now=clock.monotonic())

    def play(self) -> None:
        """Do nothing: the bench pulls."""

    def send_event(self, text: str) -> None:
        """Discard the event."""

    def hold_events(self, waiting_bytes: int) -> None:
        """Nothing is received."""

    async def restart(self, offer: LegOffer) -> LegAnswer:
        """Not supported."""
        raise NotImplementedError(offer)

    async def close(self) -> None:
        """Nothing to close."""


class IdleOwner:
    """An owner that does nothing: the cost of the loop itself."""

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        """Do nothing."""

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        """Return None."""


SILENT = SpeechDetection(Unbatched(lambda: Fixed(speech=False)))


@asynccontextmanager
async def calls(bus: Bus, count: int, detection: SpeechDetection) -> AsyncIterator[list[tuple[Call, BareLeg]]]:
    """Yield ``count`` running calls."""
    made = []
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            leg = BareLeg()
            facts = CallDetails(
                new_call_id(), TenantId("acme"), ProcessId("media-0"), OWNER, clock.unix_ms(), clock.monotonic()
            )
            conversation = Conversation(ConversationConfig(OWNER.epoch, max_seconds=3600), now=clock.monotonic())
            call = Call(facts, legs=(leg,), conversation=conversation, speech=detection.open_stream(), bus=bus)
            made.append((call, leg))
        tasks = [group.create_task(call.run()) for call, _ in made]
        await asyncio.sleep(0.1)
        yield made
        for task in tasks:
            task.cancel()


async def paced(
    step: MeasuredStep, count: int, seconds: float, after: Callable[[], object] = lambda: None
) -> tuple[float, float]:
    """µs per frame, in the steps and in the whole process: ``step(call, frame)`` 50 times a second per call."""
    began, cpu, inside, done = clock.monotonic(), time.process_time(), 0.0, 0
    while (passed := clock.monotonic() - began) < seconds:
        due = int(passed * 50 * count)
        before = time.thread_time()
        for number in range(done, due):
            step(number % count, number // count)
        after()
        inside += time.thread_time() - before
        done = due
        await asyncio.sleep(0.001)
    return inside / done * 1e6, (time.process_time() - cpu) / done * 1e6


def fill(call: Call, seconds: float) -> None:
    """Give a call an answer that outlasts the bench."""
    sound = np.full(CHUNK_SAMPLES, 1000, "<i2").tobytes()
    for position in range(0, int((seconds + 1) * 24_000), CHUNK_SAMPLES):
        frame = Frame(Kind.AUDIO_DOWN, OWNER.epoch, position, clock.unix_ms(), ItemId("item_a"), payload=sound)
        call.on_worker_frame(frames.encode(frame))


@dataclass
class HotPathBench:
    """One server, one bus, and the cost of an empty loop, which is subtracted."""

    bus: Bus
    count: int
    seconds: float
    table: Table
    loop_sync: float = 0.0
    loop_all: float = 0.0

    async def up(self, name: str, *, speech: bool) -> None:
        """Measure callers who speak, or are silent."""
        pcm = bytes(UP_FRAME_BYTES)
        detection = SpeechDetection(Unbatched(lambda: Fixed(speech=speech)))
        async with calls(self.bus, self.count, detection) as made:
            owners = [leg.owner for _, leg in made]
            await self._row(
                name, lambda i, n: owners[i].on_leg_input(PcmFrame(n, pcm), now=clock.monotonic()), detection.run
            )

    async def down(self) -> None:
        """Measure answers that play."""
        async with calls(self.bus, self.count, SILENT) as made:
            for call, _ in made:
                fill(call, self.seconds)
            owners = [leg.owner for _, leg in made]
            await self._row("down, playing", lambda i, _: owners[i].pull(now=clock.monotonic()))

    async def ticks(self) -> None:
        """Measure the timers of all calls at once, as in the pool; the median of many."""
        async with calls(self.bus, self.count, SILENT) as made:
            took = []
            for _ in range(30):
                await asyncio.sleep(0.02)
                began = time.thread_time()
                for call, _ in made:
                    call.on_timer(now=clock.monotonic())
                took.append((time.thread_time() - began) * 1e6)
            self.table.add_row(f"a tick of all {self.count} calls", f"{statistics.median(took):.0f}", "")

    async def loop(self) -> None:
        """Measure the empty loop."""
        nobody, pcm = IdleOwner(), bytes(UP_FRAME_BYTES)
        self.loop_sync, self.loop_all = await paced(
            lambda _, n: nobody.on_leg_input(PcmFrame(n, pcm), now=clock.monotonic()), self.count, self.seconds
        )

    async def _row(self, name: str, step: MeasuredStep, after: Callable[[], object] = lambda: None) -> None:
        sync, whole = await paced(step, self.count, self.seconds, after)
        self.table.add_row(name, f"{sync - self.loop_sync:.1f}", f"{whole - self.loop_all:.1f}")


async def measure(count: int, seconds: float, table: Table) -> None:
    """Fill the table."""
    with tempfile.TemporaryDirectory() as directory:
        async with nats_server(Path(directory)) as server, Bus.connect(server.url, name="bench") as bus:
            bench = HotPathBench(bus, count, seconds, table)
            await bench.loop()
            await bench.up("up, gate closed", speech=False)
            await bench.up("up, gate open", speech=True)
            await bench.down()
            await bench.ticks()


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    table = Table("per frame", "sync µs", "all µs", title=f"{options.calls} calls, 50 frames a second each")
    asyncio.run(measure(options.calls, options.seconds, table))
    Console().print(table)


if __name__ == "__main__":
    main()
