"""A voice process as the service uses it: started, written to, restarted when it exits."""

import asyncio
import sys
from collections.abc import Callable
from typing import Literal

from services.rehearsal import metrics
from services.rehearsal.voice.pipes import HEADER, PipeMessage, PipeMessageKind
from services.runtime.process.settings import inherited_environment
from services.runtime.telemetry.logging import get_logger

ChildRole = Literal["recogniser", "synthesiser"]
MessageHandler = Callable[[PipeMessage], None]

_BACKOFF_S = (0.1, 0.5, 2.0, 5.0)
_PIPE_LIMIT = 1024 * 1024
_END_S = 1.0


class VoiceProcess:
    """One process. ``on_message`` handles its answers; ``on_change``: it is ready or lost. Neither may block."""

    def __init__(self, role: ChildRole, *, on_message: MessageHandler, on_change: Callable[[], None]) -> None:
        self.role = role
        self.ready = asyncio.Event()
        self._on_message = on_message
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Pid of the current process."""
        return self._process.pid if self._process else None

    def write(self, kind: PipeMessageKind, ref: int, body: bytes = b"") -> None:
        """Write a message; unread ones are buffered. Ignored while the process is down."""
        pipe = self._process.stdin if self._process else None
        if pipe and not pipe.is_closing():
            pipe.write(PipeMessage(kind, ref, body).encode())

    async def run(self) -> None:
        """Run the process and restart it until cancelled."""
        deaths = 0
        while True:
            try:
                await self._run_once()
            finally:
                self.ready.clear()
                code = await self._end()
            metrics.VOICE_LOST.labels(self.role).inc()
            get_logger().warning("voice_process_died", role=self.role, reason="exited", exit_code=code)
            self._on_change()
            await asyncio.sleep(_BACKOFF_S[min(deaths, len(_BACKOFF_S) - 1)])
            deaths += 1

    async def _run_once(self) -> None:
        """Start it and read its messages until it exits."""
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
            if message.kind is PipeMessageKind.READY:
                self.ready.set()
                get_logger().info("voice_process_ready", role=self.role, pid=self.pid)
                self._on_change()
            else:
                self._on_message(message)

    async def _end(self) -> int | None:
        """Close its pipe and wait; kill it if it does not exit."""
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
        return PipeMessage(PipeMessageKind(kind), ref, await pipe.readexactly(length))
    except asyncio.IncompleteReadError:
        return None
