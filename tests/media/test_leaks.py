"""A process leaks nothing over five hundred calls."""

import asyncio
import re
from pathlib import Path

import httpx
import psutil
import pytest

from services.callers.speech import Clip, synthesise
from services.contracts import subjects
from services.contracts.messages import Done, Hangup
from tests.media.process import MediaHarness, media_harness
from tests.media.worker import PROCESS
from tests.network.impairer import impairer

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(400)]
WARM_UP, CYCLES, AT_ONCE = 60, 500, 5
LEAKED_CALL_BYTES = 400_000  # what a live call takes
QUIET_S, CYCLE_S = 20.0, 30.0


async def cycle(harness: MediaHarness, number: int, spoken: Clip) -> None:
    """Make a call that ends in one of three ways: by a hang-up, by a client that closes, by one that disappears."""
    async with asyncio.timeout(CYCLE_S), impairer(seed=str(number)) as network, harness.call(network) as call:
        if number % 3 != 2:  # the third kind never gets so far
            call.browser.microphone.play(spoken)
            await call.up.more(5)
        if number % 3 == 0:
            assert isinstance(
                await harness.bus.request(subjects.control(PROCESS, call.id), Hangup(call=call.id), timeout_s=5), Done
            )
        elif number % 3 == 1:
            call.browser.channel.close()


async def cycles(harness: MediaHarness, count: int) -> None:
    places, spoken = asyncio.Semaphore(AT_ONCE), await synthesise("hello")

    async def one(number: int) -> None:
        async with places:
            await cycle(harness, number, spoken)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


async def gauges(harness: MediaHarness) -> dict[str, float]:
    """Return the numbers of table entries, tasks and calls of the process."""
    async with httpx.AsyncClient(timeout=10) as http:
        text = (await http.get(f"{harness.http_url}/metrics")).text
    wanted = ("hushgate_media_routes", "hushgate_event_loop_tasks", "hushgate_media_calls_active")
    return {name: float(re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)[1]) for name in wanted}  # type: ignore[index]


async def at_rest(harness: MediaHarness) -> tuple[dict[str, float], int, int, int]:
    """Return gauges, file descriptors, threads and bytes of the process when no call is left."""
    process = psutil.Process(harness.pid)
    async with asyncio.timeout(QUIET_S):
        while (  # noqa: ASYNC110 - another process tells nobody
            (found := await gauges(harness))["hushgate_media_calls_active"] or found["hushgate_media_routes"]
        ):
            await asyncio.sleep(0.1)
        before = -1.0
        while found["hushgate_event_loop_tasks"] != before:  # the last calls' usage is being written
            before = found["hushgate_event_loop_tasks"]
            await asyncio.sleep(0.5)
            found = await gauges(harness)
    return found, process.num_fds(), process.num_threads(), process.memory_info().rss


async def test_calls_leave_nothing_behind(tmp_path: Path) -> None:
    async with media_harness(tmp_path, MEDIA_LOST_AFTER_S="1", MEDIA_GONE_AFTER_S="2") as harness:
        await cycles(harness, WARM_UP)
        gauges_before, fds, threads, rss = await at_rest(harness)
        await cycles(harness, CYCLES)
        gauges_after, fds_after, threads_after, rss_after = await at_rest(harness)
    few = CYCLES // 100  # what happens to be going on, not one for each call
    assert gauges_after["hushgate_event_loop_tasks"] <= gauges_before["hushgate_event_loop_tasks"] + few
    assert fds_after <= fds + few
    assert threads_after <= threads
    # The heap grows towards its working size until some 600 calls; one call in five that is kept would show.
    assert rss_after - rss < CYCLES * LEAKED_CALL_BYTES / 5, f"{(rss_after - rss) / CYCLES:.0f} bytes a call"
