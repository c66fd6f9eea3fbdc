"""Five hundred calls come and go, and the process is as it was."""

import asyncio
import re
from pathlib import Path

import httpx
import psutil
import pytest

from services.callers.speech import Clip, synthesise
from services.contracts import subjects
from services.contracts.messages import Done, Hangup
from tests.media.process import MediaHouse, media_house
from tests.media.worker import PROCESS
from tests.network.impairer import impairer

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(400)]
WARM_UP, CYCLES, AT_ONCE = 60, 500, 5
LEAKED_CALL_BYTES = 400_000  # what a live call takes
QUIET_S, CYCLE_S = 20.0, 30.0


async def cycle(house: MediaHouse, number: int, spoken: Clip) -> None:
    """A call that ends in one of three ways: by a hang-up, by a client that closes, by one that is suddenly gone."""
    async with asyncio.timeout(CYCLE_S), impairer(seed=str(number)) as network, house.call(network) as call:
        if number % 3 != 2:  # the third kind never gets so far
            call.browser.microphone.say(spoken)
            await call.up.more(5)
        if number % 3 == 0:
            assert isinstance(
                await house.bus.request(subjects.control(PROCESS, call.id), Hangup(call=call.id), timeout_s=5), Done
            )
        elif number % 3 == 1:
            call.browser.channel.close()


async def cycles(house: MediaHouse, count: int) -> None:
    places, spoken = asyncio.Semaphore(AT_ONCE), await synthesise("hello")

    async def one(number: int) -> None:
        async with places:
            await cycle(house, number, spoken)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))


async def gauges(house: MediaHouse) -> dict[str, float]:
    """Table entries, tasks and calls of the process."""
    async with httpx.AsyncClient(timeout=10) as http:
        text = (await http.get(f"{house.http_url}/metrics")).text
    wanted = ("hushgate_media_routes", "hushgate_event_loop_tasks", "hushgate_media_calls_active")
    return {name: float(re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)[1]) for name in wanted}  # type: ignore[index]


async def at_rest(house: MediaHouse) -> tuple[dict[str, float], int, int, int]:
    """The process when no call is left: gauges, file descriptors, threads, bytes."""
    process = psutil.Process(house.pid)
    async with asyncio.timeout(QUIET_S):
        while (  # noqa: ASYNC110 - another process tells nobody
            (found := await gauges(house))["hushgate_media_calls_active"] or found["hushgate_media_routes"]
        ):
            await asyncio.sleep(0.1)
        before = -1.0
        while found["hushgate_event_loop_tasks"] != before:  # the last calls' usage is being written
            before = found["hushgate_event_loop_tasks"]
            await asyncio.sleep(0.5)
            found = await gauges(house)
    return found, process.num_fds(), process.num_threads(), process.memory_info().rss


async def test_calls_leave_nothing_behind(tmp_path: Path) -> None:
    async with media_house(tmp_path, MEDIA_LOST_AFTER_S="1", MEDIA_GONE_AFTER_S="2") as house:
        await cycles(house, WARM_UP)
        gauges_before, fds, threads, rss = await at_rest(house)
        await cycles(house, CYCLES)
        gauges_after, fds_after, threads_after, rss_after = await at_rest(house)
    few = CYCLES // 100  # what happens to be going on, not one for each call
    assert gauges_after["hushgate_event_loop_tasks"] <= gauges_before["hushgate_event_loop_tasks"] + few
    assert fds_after <= fds + few
    assert threads_after <= threads
    # The heap grows towards its working size until some 600 calls; one call in five that is kept would show.
    assert rss_after - rss < CYCLES * LEAKED_CALL_BYTES / 5, f"{(rss_after - rss) / CYCLES:.0f} bytes a call"
