"""What a frame costs between leg and bus: calls with plain legs and a real nats-server, paced as in life.

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
from services.contracts.frame import Frame, Kind
from services.contracts.ids import Epoch, ItemId, ProcessId, SessionId, TenantId, WorkerId, new_call_id, new_leg_id
from services.contracts.messages import ClaimGranted
from services.media.call import Call, CallFacts
from services.media.core.conversation import Conversation, ConversationConfig
from services.media.leg import LegConnected, LegInput, LegOpened, LegOwner, Pace
from services.runtime import clock
from services.runtime.bus import Bus
from services.up.natsd import nats_server

CHUNK_SAMPLES = 8192
Step = Callable[[int, int], object]
"""Takes the number of a call and of a frame."""
OWNER = ClaimGranted(
    worker=WorkerId("up-0"), epoch=Epoch(1), session=SessionId("sess_a"), provider="rehearsal", model="gpt-realtime"
)


class Fixed:
    """A detector that costs nothing."""

    def __init__(self, *, speech: bool) -> None:
        self._speech = speech

    def is_speech(self, frame: PcmFrame) -> bool:
        """As it was told."""
        del frame
        return self._speech


class BareLeg:
    """A leg that only knows its owner."""

    pace: Pace = "gateway"
    receive_delay_ms = 0
    listens = True

    def __init__(self) -> None:
        self.id = new_leg_id()
        self.owner: LegOwner = Nobody()

    def attach(self, owner: LegOwner) -> None:
        """Take the owner."""
        self.owner = owner
        owner.take(LegConnected(), now=clock.monotonic())
        owner.take(LegOpened(), now=clock.monotonic())

    def play(self) -> None:
        """It is pulled anyway."""

    def send_event(self, text: str) -> None:
        """Nobody listens."""

    async def restart(self, sdp: str) -> str:
        """Not here."""
        raise NotImplementedError(sdp)

    async def close(self) -> None:
        """Nothing to close."""


class Nobody:
    """An owner that does nothing: the price of the loop itself."""

    def take(self, item: LegInput, *, now: float) -> None:
        """Take nothing."""

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        """Give nothing."""


@asynccontextmanager
async def calls(bus: Bus, count: int, *, speech: bool) -> AsyncIterator[list[tuple[Call, BareLeg]]]:
    """So many calls that run."""
    made = []
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            leg = BareLeg()
            facts = CallFacts(
                new_call_id(), TenantId("acme"), ProcessId("media-0"), OWNER, clock.unix_ms(), clock.monotonic()
            )
            conversation = Conversation(ConversationConfig(OWNER.epoch, max_seconds=3600), now=clock.monotonic())
            call = Call(facts, leg=leg, conversation=conversation, detector=Fixed(speech=speech), bus=bus)
            made.append((call, leg))
        tasks = [group.create_task(call.run()) for call, _ in made]
        await asyncio.sleep(0.1)
        yield made
        for task in tasks:
            task.cancel()


async def paced(step: Step, count: int, seconds: float) -> tuple[float, float]:
    """Step (call, frame) for each call 50 times a second; µs per frame inside the step, and of the whole process."""
    began, cpu, inside, done = clock.monotonic(), time.process_time(), 0.0, 0
    while (passed := clock.monotonic() - began) < seconds:
        due = int(passed * 50 * count)
        before = time.thread_time()
        for number in range(done, due):
            step(number % count, number // count)
        inside += time.thread_time() - before
        done = due
        await asyncio.sleep(0.001)
    return inside / done * 1e6, (time.process_time() - cpu) / done * 1e6


def fill(call: Call, seconds: float) -> None:
    """Give a call an answer that outlasts the bench."""
    sound = np.full(CHUNK_SAMPLES, 1000, "<i2").tobytes()
    for position in range(0, int((seconds + 1) * 24_000), CHUNK_SAMPLES):
        frame = Frame(Kind.AUDIO_DOWN, OWNER.epoch, position, clock.unix_ms(), ItemId("item_a"), payload=sound)
        call.worker_frame(frames.encode(frame))


@dataclass
class Bench:
    """One server, one bus, and the price of a loop that does nothing, which is taken off."""

    bus: Bus
    count: int
    seconds: float
    table: Table
    loop_sync: float = 0.0
    loop_all: float = 0.0

    async def up(self, name: str, *, speech: bool) -> None:
        """Callers who speak, or do not."""
        pcm = bytes(UP_FRAME_BYTES)
        async with calls(self.bus, self.count, speech=speech) as made:
            owners = [leg.owner for _, leg in made]
            await self._row(name, lambda i, n: owners[i].take(PcmFrame(n, pcm), now=clock.monotonic()))

    async def down(self) -> None:
        """Answers that play."""
        async with calls(self.bus, self.count, speech=False) as made:
            for call, _ in made:
                fill(call, self.seconds)
            owners = [leg.owner for _, leg in made]
            await self._row("down, playing", lambda i, _: owners[i].pull(now=clock.monotonic()))

    async def ticks(self) -> None:
        """All calls at once, as the pool does; the median of many."""
        async with calls(self.bus, self.count, speech=False) as made:
            took = []
            for _ in range(30):
                await asyncio.sleep(0.02)
                began = time.thread_time()
                for call, _ in made:
                    call.tick(now=clock.monotonic())
                took.append((time.thread_time() - began) * 1e6)
            self.table.add_row(f"a tick of all {self.count} calls", f"{statistics.median(took):.0f}", "")

    async def loop(self) -> None:
        """What the loop itself costs."""
        nobody, pcm = Nobody(), bytes(UP_FRAME_BYTES)
        self.loop_sync, self.loop_all = await paced(
            lambda _, n: nobody.take(PcmFrame(n, pcm), now=clock.monotonic()), self.count, self.seconds
        )

    async def _row(self, name: str, step: Step) -> None:
        sync, whole = await paced(step, self.count, self.seconds)
        self.table.add_row(name, f"{sync - self.loop_sync:.1f}", f"{whole - self.loop_all:.1f}")


async def measure(count: int, seconds: float, table: Table) -> None:
    """Fill the table."""
    with tempfile.TemporaryDirectory() as directory:
        async with nats_server(Path(directory)) as server, Bus.connect(server.url, name="bench") as bus:
            bench = Bench(bus, count, seconds, table)
            await bench.loop()
            await bench.up("up, gate closed", speech=False)
            await bench.up("up, gate open", speech=True)
            await bench.down()
            await bench.ticks()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    table = Table("per frame", "sync µs", "all µs", title=f"{options.calls} calls, 50 frames a second each")
    asyncio.run(measure(options.calls, options.seconds, table))
    Console().print(table)


if __name__ == "__main__":
    main()
