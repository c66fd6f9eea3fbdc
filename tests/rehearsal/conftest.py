"""The rehearsal on a real port."""

import asyncio
import shutil
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soxr

from services.rehearsal import app
from services.rehearsal.settings import RehearsalSettings
from services.runtime.process.runner import Process
from tests.rehearsal.driver import silence

Serving = Callable[..., AbstractAsyncContextManager[str]]
"""Settings by name → the service's base URL."""


class _ToldProcess(Process):
    """Reports the service's URL, as `service_ready` does in the log."""

    def __init__(self) -> None:
        super().__init__("rehearsal")
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ready(self, http_url: str) -> None:
        super().ready(http_url)
        self.url.set_result(http_url)


Speech = Callable[[str, str], Awaitable[bytes]]
"""Text and speaker → s16le mono 24 kHz with the silence that a gate leaves around it."""


@pytest.fixture
def flite(tmp_path: Path) -> Speech:
    """Speech that the recogniser understands; skips where flite is not installed."""
    command = shutil.which("flite")
    if command is None:
        pytest.skip("needs Debian's flite: espeak-ng is hardly understood")

    async def speech(text: str, speaker: str) -> bytes:
        file = tmp_path / "speech.wav"
        process = await asyncio.create_subprocess_exec(command, "-voice", speaker, "-t", text, "-o", str(file))
        assert await process.wait() == 0
        with wave.open(str(file)) as wav:
            samples = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")
            resampled = soxr.resample(samples, wav.getframerate(), 24_000).astype("<i2")
        return silence(300) + bytes(resampled.tobytes()) + silence(400)

    return speech


@pytest.fixture
def rehearsal() -> Serving:
    """Runs the service, with the echo voice by default."""

    @asynccontextmanager
    async def serve(**settings: object) -> AsyncIterator[str]:
        process = _ToldProcess()
        chosen = RehearsalSettings.model_validate({"voice": "echo", **settings})
        task = asyncio.create_task(app.serve(chosen, process))
        try:
            task.add_done_callback(lambda _: process.url.cancel())  # it failed before it was ready
            async with asyncio.timeout(60):
                url = await process.url
            yield url
        finally:
            process.stopping.set()
            await task

    return serve
