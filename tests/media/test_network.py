"""The whole media path of a process as it ships, on a bad network."""

import asyncio
import shutil
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from services.callers.speech import Clip, clip, synthesise
from services.contracts.audio import DOWN_HZ
from services.contracts.endings import EndReason
from services.contracts.ids import ItemId
from tests.media.process import EVERYTHING_PASSES, Came, LiveCall, MediaHarness, frames_in, media_harness
from tests.network.fate import Burst, Conditions
from tests.network.impairer import impairer

pytestmark = [
    pytest.mark.system,
    pytest.mark.alone,
    pytest.mark.asyncio(loop_scope="module"),  # one process for all: it must bear with what each does to it
    pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite: apt-get install flite"),
]
TEXT = "the quick brown fox jumps over the lazy dog and then runs along the river to find a place to sleep"
ITEM = ItemId("item_long")
LOST_AFTER_S, GONE_AFTER_S = 2.0, 4.0
SETTLED = 3  # frames: what the phase of two clocks and the pairing of frames may change


async def monologue(seconds: float) -> Clip:
    """Return speech without pauses that trigger DTX, and without digital silence."""
    spoken = await synthesise(TEXT)
    once = spoken.samples[spoken.onset : spoken.end]
    samples = np.resize(once, int(seconds * 16_000)).astype(np.int32)
    noise = np.random.default_rng(7).integers(-60, 61, samples.size)
    return clip((samples * 0.9 + noise).astype(np.int16), hz=16_000)


@asynccontextmanager
async def talking(harness: MediaHarness, *, seconds: float, seed: str, up: Conditions) -> AsyncIterator[LiveCall]:
    """A call whose caller speaks all the time; the block begins when the worker receives its frames."""
    async with asyncio.timeout(40), impairer(seed=seed) as network, harness.call(network, loss=up.loss) as call:
        network.set(up=up)
        call.browser.microphone.play(await monologue(seconds))
        await call.up.more(frames_in(0.5))
        yield call


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MediaHarness]:
    async with media_harness(tmp_path_factory.mktemp("harness"), **EVERYTHING_PASSES) as running:
        yield running


def with_sound(came: Sequence[Came]) -> set[int]:
    """Return the frames that are not digital silence, that is, were received or concealed."""
    return {frame.index for frame in came if any(frame.pcm)}


def lag(came: Sequence[Came]) -> float:
    return statistics.median(frame.lag for frame in came)


def long_answer(seconds: float) -> bytes:
    wave = 8000 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * DOWN_HZ)) / DOWN_HZ)
    return wave.astype("<i2").tobytes()


async def test_at_3_percent_loss_99_percent_of_the_frames_reach_the_gate(harness: MediaHarness) -> None:
    async with talking(harness, seconds=11, seed="loss", up=Conditions(loss=0.03)) as call:
        came = await call.up.more(frames_in(8))
    assert call.network.up.counts.lost > 5
    span = range(came[0].index, came[-1].index + 1)
    assert [frame.index for frame in came] == list(span)
    assert len(with_sound(came)) >= 0.99 * len(span)
    assert lag(came[-50:]) <= lag(came[:50]) + SETTLED


async def test_after_a_burst_of_loss_the_caller_is_heard_as_early_as_before(harness: MediaHarness) -> None:
    async with talking(harness, seconds=12, seed="burst", up=Conditions()) as call:
        before = await call.up.more(frames_in(1))
        call.network.set(up=Conditions(burst=Burst.of(loss=0.2, length=5)))
        in_trouble = await call.up.more(frames_in(2))
        call.network.set(up=Conditions())
        await call.up.more(frames_in(0.5))
        after = await call.up.more(frames_in(1))
    assert call.network.up.counts.lost_in_bursts > 5
    assert [frame.index for frame in (*in_trouble, *after)] == sorted({f.index for f in (*in_trouble, *after)})
    assert [frame.index for frame in after] == list(range(after[0].index, after[-1].index + 1))
    assert len(with_sound(after)) == len(after)
    assert lag(after) <= lag(before) + SETTLED


async def test_reordered_packets_cost_no_frame(harness: MediaHarness) -> None:
    async with talking(harness, seconds=8, seed="order", up=Conditions(reorder=0.05, reorder_ms=30)) as call:
        came = await call.up.more(frames_in(4))
    assert call.network.up.counts.reordered > 3
    assert [frame.index for frame in came] == list(range(came[0].index, came[-1].index + 1))
    assert len(with_sound(came)) == len(came)


async def test_after_a_nat_rebind_the_call_goes_on_both_ways(harness: MediaHarness) -> None:
    async with asyncio.timeout(40), impairer() as network, harness.call(network) as call:
        (old,) = {*network.gateway_side}
        await harness.worker.say(call.id, ITEM, long_answer(9))
        await call.browser.audio_sink.first_sound(since_s=0, timeout_s=10)
        network.rebind()
        assert old not in network.gateway_side
        heard = len(call.browser.audio_sink.rtp)
        await network.until(lambda: len(call.browser.audio_sink.rtp) >= heard + frames_in(1))
        call.browser.microphone.play(await monologue(6))
        came = await call.up.more(frames_in(2))
        assert network.stale < frames_in(8)
    assert len(with_sound(came)) == len(came)


async def test_a_call_survives_two_seconds_without_a_network(harness: MediaHarness) -> None:
    async with talking(harness, seconds=15, seed="dark", up=Conditions()) as call:
        before = await call.up.more(frames_in(1))
        call.network.black_out()
        dark = call.network.up.counts.lost_in_blackouts
        await call.network.until(lambda: call.network.up.counts.lost_in_blackouts >= dark + frames_in(2))
        call.network.black_out(dark=False)
        await call.up.more(frames_in(0.5))
        after = await call.up.more(frames_in(1))
        await harness.worker.say(call.id, ITEM, long_answer(1))
        heard = await call.browser.audio_sink.first_sound(since_s=0, timeout_s=10)
        assert call.up.ended is None
    assert heard.has_sound
    assert len(with_sound(after)) == len(after)
    assert lag(after) <= lag(before) + SETTLED


async def test_a_client_who_stays_away_is_gone(tmp_path: Path) -> None:
    patience = {"MEDIA_LOST_AFTER_S": str(LOST_AFTER_S), "MEDIA_GONE_AFTER_S": str(GONE_AFTER_S)}
    async with media_harness(tmp_path, **EVERYTHING_PASSES, **patience) as harness:
        async with talking(harness, seconds=5, seed="gone", up=Conditions()) as call:
            call.network.black_out()
            await call.up.until(lambda: call.up.ended is not None)
        assert call.up.ended is not None
        assert call.up.ended.reason is EndReason.CLIENT_GONE


async def test_another_ssrc_in_the_middle_of_speech_is_followed(harness: MediaHarness) -> None:
    async with talking(harness, seconds=8, seed="ssrc", up=Conditions()) as call:
        before = await call.up.more(frames_in(1))
        call.browser.change_ssrc()
        await call.up.more(frames_in(0.5))
        after = await call.up.more(frames_in(1))
    assert [frame.index for frame in after] == list(range(after[0].index, after[-1].index + 1))
    assert len(with_sound(after)) == len(after)
    assert lag(after) <= lag(before) + SETTLED
