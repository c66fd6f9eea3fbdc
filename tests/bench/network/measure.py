"""One network, two calls: what the worker got of the caller, and what the caller got of the worker. Recorded only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from services.callers.speech import Clip, Samples, resample
from services.contracts.audio import DOWN_HZ
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.ids import ItemId
from services.runtime import clock
from tests.bench.network.cells import Cell
from tests.bench.network.reading import HZ, SpokenReading
from tests.media.process import Came, LiveCall, MediaHarness
from tests.network.browser import EncoderSettings, ReceivedRtp
from tests.network.impairer import impairer

CHUNK_S, LEAD_S = 0.2, 2.0  # as a provider sends: in pieces, ahead of what is played
SETTLE_S = 1.0
LONGER_S = 15.0
NAP_S = 0.02
_items = count(1)


@dataclass(frozen=True, slots=True)
class ReceivedReading:
    """All that came of one reading each way. ``encoder_settings``: what the answer asked of the caller's encoder."""

    cell: Cell
    encoder_settings: EncoderSettings
    up: tuple[Came, ...]
    closes: tuple[str, ...]
    down: tuple[ReceivedRtp, ...]


async def record(harness: MediaHarness, whole: SpokenReading, cell: Cell, *, seed: str) -> ReceivedReading:
    """Read out both ways at the same time, in a call each: who speaks during an answer would stop it.

    Raises:
        TimeoutError: a call did not come to its end.
    """
    async with asyncio.timeout(whole.seconds + LONGER_S), asyncio.TaskGroup() as group:
        speaking = group.create_task(_speak(harness, whole, cell, seed), name="up")
        hearing = group.create_task(_hear(harness, whole, cell, seed), name="down")
    spoken, heard = speaking.result(), hearing.result()
    return ReceivedReading(
        cell,
        spoken.browser.encoder_settings,
        tuple(spoken.up.frames),
        tuple(spoken.up.closes),
        _as_they_arrived(heard),
    )


def _as_they_arrived(call: LiveCall) -> tuple[ReceivedRtp, ...]:
    """By the network's time: how late this process was with them is no fault of the gateway."""
    at = call.network.down_arrivals
    return tuple(
        sorted((replace(one, at_s=at[one.sequence]) for one in call.browser.audio_sink.rtp), key=lambda one: one.at_s)
    )


@asynccontextmanager
async def _call(harness: MediaHarness, cell: Cell, seed: str) -> AsyncIterator[LiveCall]:
    """A call that was set up on a good line, which is bad from then on."""
    async with impairer(seed=f"{seed} {cell.name}") as network, harness.call(network, loss=cell.loss) as call:
        network.set(up=cell.conditions, down=cell.conditions)
        yield call


async def _speak(harness: MediaHarness, whole: SpokenReading, cell: Cell, seed: str) -> LiveCall:
    async with _call(harness, cell, seed) as call:
        call.browser.microphone.play(Clip(whole.samples, HZ, 0, len(whole.samples)))
        await call.browser.microphone.wait_until_silent()
        await asyncio.sleep(SETTLE_S)
        return call


async def _hear(harness: MediaHarness, whole: SpokenReading, cell: Cell, seed: str) -> LiveCall:
    async with _call(harness, cell, seed) as call:
        await _send(harness, call, resample(whole.samples, from_hz=HZ, to_hz=DOWN_HZ))
        await call.browser.audio_sink.last_sound(since_s=0, quiet_s=SETTLE_S, timeout_s=LONGER_S, any_packet=True)
        return call


async def _send(harness: MediaHarness, call: LiveCall, samples: Samples) -> None:
    """Send one item as a provider does: in pieces, ahead of playout, but within the credit."""
    item, began = ItemId(f"item_{next(_items)}"), clock.monotonic()
    step = round(CHUNK_S * DOWN_HZ)
    for start in range(0, len(samples), step):
        await asyncio.sleep(max(0.0, began + start / DOWN_HZ - LEAD_S - clock.monotonic()))
        piece = samples[start : start + step]
        flags = Flag.ITEM_END if start + len(piece) == len(samples) else NO_FLAGS
        pcm = piece.astype("<i2").tobytes()
        await harness.worker.send(call.id, Kind.AUDIO_DOWN, start, item_id=item, flags=flags, payload=pcm)


class LoopLag:
    """How late this process's own loop was: what the bench itself adds to every figure."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []

    async def keep_watching(self) -> None:
        """Until cancelled."""
        while True:
            due = clock.monotonic() + NAP_S
            await asyncio.sleep(NAP_S)
            self.late_ms.append(1000 * (clock.monotonic() - due))

    def percentile(self, share: int) -> float:
        """In ms."""
        return round(float(np.percentile(self.late_ms, share)), 1)
