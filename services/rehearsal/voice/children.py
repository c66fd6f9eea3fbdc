"""A voice process seen from the service: started, spoken to, replaced when it dies."""

import asyncio
import sys
from collections.abc import Callable
from typing import Literal

from services.rehearsal import metrics
from services.rehearsal.voice.pipes import HEADER, Kind, PipeMessage
from services.runtime.logging import get_logger
from services.runtime.settings import inherited_environment

Role = Literal["ear", "mouth"]
Received = Callable[[PipeMessage], None]

_BACKOFF_S = (0.1, 0.5, 2.0, 5.0)
_PIPE_LIMIT = 1024 * 1024
_END_S = 1.0


class VoiceProcess:
    """One process. Neither ``on_message``, for its answers, nor ``on_change``, when it is ready or lost, may block."""

    def __init__(self, role: Role, *, on_message: Received, on_change: Callable[[], None]) -> None:
        self.role = role
        self.ready = asyncio.Event()
        self._on_message = on_message
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process else None

    def send(self, kind: Kind, ref: int, body: bytes = b"") -> None:
        """Write to it; what it does not read yet is kept. Nothing happens while it is away."""
        pipe = self._process.stdin if self._process else None
        if pipe and not pipe.is_closing():
            pipe.write(PipeMessage(kind, ref, body).encode())

    async def run(self) -> None:
        """Keep it alive until cancelled."""
        deaths = 0
        while True:
            try:
                await self._live()
            finally:
                self.ready.clear()
                code = await self._end()
            metrics.VOICE_LOST.labels(self.role).inc()
            get_logger().warning("voice_process_died", role=self.role, reason="exited", exit_code=code)
            self._on_change()
            await asyncio.sleep(_BACKOFF_S[min(deaths, len(_BACKOFF_S) - 1)])
            deaths += 1

    async def _live(self) -> None:
        """Start it and read from it until it ends."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.rehearsal.voice",
            self.role,
            env=inherited_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_PIPE_LIMIT,
        )
        pipe = self._process.stdout
        while pipe and (message := await _read(pipe)):
            if message.kind is Kind.READY:
                self.ready.set()
                get_logger().info("voice_process_ready", role=self.role, pid=self.pid)
                self._on_change()
            else:
                self._on_message(message)

    async def _end(self) -> int | None:
        """Close its pipe and wait; one that does not go is killed."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()


async def _read(pipe: asyncio.StreamReader) -> PipeMessage | None:
    try:
        length, kind, ref = HEADER.unpack(await pipe.readexactly(HEADER.size))
        return PipeMessage(Kind(kind), ref, await pipe.readexactly(length))
    except asyncio.IncompleteReadError:
        return None
