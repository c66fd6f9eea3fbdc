import asyncio
import json
import os
import signal
import sys

import pytest

from services.runtime.process.settings import inherited_environment

pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")


async def started(**settings: str) -> tuple[asyncio.subprocess.Process, list[int]]:
    """`hushgate rehearsal` with its local voice, and the processes of that voice."""
    environment = {
        **inherited_environment("rehearsal"),
        "REHEARSAL_VOICE": "full",
        "REHEARSAL_RECOGNISERS": "1",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.rehearsal", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    pids: list[int] = []
    async with asyncio.timeout(60):
        while line := await process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "voice_process_ready":
                pids.append(event["pid"])
            if event["event"] == "service_ready":
                break
    return process, pids


async def ended(pid: int) -> None:
    """Wait until a process that is not ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, over.set)
    try:
        async with asyncio.timeout(10):
            await over.wait()
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


async def test_a_signal_stops_the_service_and_its_voice() -> None:
    process, pids = await started()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
    assert len(pids) == 2
    for pid in pids:
        await ended(pid)


async def test_a_voice_process_exits_with_a_killed_service() -> None:
    process, pids = await started()
    process.kill()
    await process.communicate()
    for pid in pids:
        await ended(pid)


async def test_a_wrong_setting_is_reported_in_one_line() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.rehearsal",
        env={**inherited_environment("rehearsal"), "REHEARSAL_VOICES": "full"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert "REHEARSAL_VOICES" in said.decode()
