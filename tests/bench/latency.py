"""Latency that the gateway adds on a perfect network: microphone to worker, worker to first packet.

Up, a frame counts from the moment when its last sample was spoken; that two frames share a message is in it. Down, an
answer counts from the moment when its first chunk goes on the bus to that when its first packet arrives.
"""

import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.callers.speech import clip, synthesise
from services.contracts.audio import DOWN_HZ
from services.contracts.ids import ItemId
from services.runtime import clock
from tests.bench.talker import TEXT
from tests.media.process import EVERYTHING_PASSES, Came, LiveCall, MediaHarness, frames_in, media_harness
from tests.network.impairer import impairer

ANSWERS = 60
ANSWER_S, PAUSE_S = 0.2, 0.25
FIRST_PACKET_S = 5.0


async def measure(*, seconds: float) -> dict[str, Any]:
    """Measure both ways: p50 and p95 in ms."""
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder:
        async with media_harness(Path(folder), **EVERYTHING_PASSES) as harness:
            async with impairer(seed="1") as network, harness.call(network) as call:
                up = await _up(call, seconds)
            async with impairer(seed="2") as network, harness.call(network) as call:
                down = await _down(harness, call)
    return {
        "p50": {"up": _percentile(up, 50), "down": _percentile(down, 50)},
        "p95": {"up": _percentile(up, 95), "down": _percentile(down, 95)},
        "n": {"up": len(up), "down": len(down)},
    }


async def _up(call: LiveCall, seconds: float) -> list[float]:
    once = (await synthesise(TEXT)).samples
    call.browser.microphone.play(clip(np.resize(once, int((seconds + 2) * 16_000)), hz=16_000))
    async with asyncio.timeout(seconds + 20):
        came = await call.up.more(frames_in(seconds))
    return delays(came, call.browser.microphone.taken_at)


def delays(came: Sequence[Came], taken_at: Sequence[float]) -> list[float]:
    """Seconds from microphone to worker. Both count frames from a start of their own: the latest that fits is true.

    For one later, a frame would have arrived before it was spoken; for one earlier, all are 20 ms more late.
    """
    for shift in range(len(taken_at) - came[-1].index - 1, -came[0].index - 1, -1):
        found = [frame.at_s - taken_at[frame.index + shift] for frame in came]
        if min(found) >= 0:
            return found
    raise ValueError("frames arrived that nobody spoke")


async def _down(harness: MediaHarness, call: LiveCall) -> list[float]:
    pcm = (8000 * np.sin(2 * np.pi * 300 * np.arange(int(ANSWER_S * DOWN_HZ)) / DOWN_HZ)).astype("<i2").tobytes()
    dice = random.Random(1)  # noqa: S311 - spreads answers in time
    found: list[float] = []
    for number in range(ANSWERS):
        await asyncio.sleep(ANSWER_S + PAUSE_S + dice.random() * 0.02)
        sent_at = clock.monotonic()
        await harness.worker.say(call.id, ItemId(f"item_{number}"), pcm)
        first = await call.browser.audio_sink.first_sound(since_s=sent_at, timeout_s=FIRST_PACKET_S)
        found.append(first.at_s - sent_at)
    return found


def _percentile(seconds: Sequence[float], share: int) -> float:
    return round(1000 * float(np.percentile(seconds, share)), 1)
