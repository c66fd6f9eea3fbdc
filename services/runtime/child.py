"""One child process: started, listened to, started again when it dies, stopped."""

import asyncio
import ctypes
import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.logging import redact_text
from services.runtime.settings import inherited_environment

START_TIMEOUT_S = 60.0
_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_S = 30.0  # after that a death is a new misfortune, not the old one again
_STOP_TIMEOUT_S = 3.0
_LINE_LIMIT = 1024 * 1024
_PR_SET_PDEATHSIG = 1


class ChildFailedError(HushgateError):
    """A child ended before it was ready; the message is the child's own."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run: `hushgate <command>` with settings in the environment."""

    name: str
    command: str
    environment: Mapping[str, str]
    port_setting: str
    """Name of the setting that fixes its HTTP port when it is started again, so that others find it."""


class ChildLog(Protocol):
    """Where a child's words go."""

    def event(self, child: str, event: Mapping[str, Any], /) -> None:
        """Write what ``child`` logged."""

    def say(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        """Write what happened to a child."""


class Child:
    """A running child. ``on_change`` is called when its pid or URL has changed, ``on_death`` when it died."""

    def __init__(
        self,
        spec: ChildSpec,
        console: ChildLog,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self.spec = spec
        self.http_url = ""
        self._console = console
        self._on_change = on_change
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._was_ready = False
        self._last_error = ""
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        return self._process.pid if self._process else 0

    @property
    def is_ready(self) -> bool:
        """Whether it runs and has said that it is ready."""
        return self._ready.is_set()

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than it should, though it had been ready."""
        return self._was_ready and self._process is not None and self._process.returncode not in (None, 0)

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ChildFailedError: it ended first, or was not ready in time.
        """
        await self._spawn()
        self._task = asyncio.create_task(self._keep_alive(), name=f"child {self.spec.name}")
        await self.ready()

    async def ready(self) -> None:
        """Wait until it is ready; it may have died and been started again meanwhile.

        Raises:
            ChildFailedError: it ended before it was ever ready, or is not ready in time.
        """
        ready = asyncio.create_task(self._ready.wait())
        waited = {ready, self._task} if self._task else {ready}
        try:
            await asyncio.wait(waited, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            raise ChildFailedError(f"{self.spec.name}: {self._last_error or 'it is not ready in time'}")

    async def stop(self, timeout_s: float) -> None:
        """SIGTERM, after ``timeout_s`` SIGKILL; it is not started again."""
        self._stopping = True
        if self._process is not None:
            await stop(self._process, timeout_s)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _spawn(self) -> None:
        port = {self.spec.port_setting: self.http_url.rpartition(":")[2]} if self.http_url else {}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.cli",
            self.spec.command,
            env={**inherited_environment(self.spec.command), **self.spec.environment, **port},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            preexec_fn=die_with_parent(signal.SIGTERM),
            start_new_session=True,  # Ctrl-C reaches `up` only, which stops the children in order
        )
        self._on_change()

    async def _keep_alive(self) -> None:
        attempt = -1
        while True:
            started_at = clock.monotonic()
            await self._listen()
            if self._stopping or not self._was_ready:
                return
            self._ready.clear()
            self._on_death()
            attempt = 0 if clock.monotonic() - started_at > _STEADY_S else attempt + 1
            pause = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
            code = self._process.returncode if self._process else None
            self._console.say("child_died", level="error", child=self.spec.name, exit_code=code, restart_in_s=pause)
            await asyncio.sleep(pause)
            try:
                await self._spawn()
            except OSError as exc:  # no memory, no process left: it may pass
                self._console.say("child_not_started", level="error", child=self.spec.name, error=str(exc))

    async def _listen(self) -> None:
        """Pass its log on until it ends."""
        process = self._process
        if process is None or process.stdout is None:
            return
        while line := await next_line(process.stdout):
            event = read_line(line)
            self._console.event(self.spec.name, event)
            self._notice(event)
        await process.wait()

    def _notice(self, event: Mapping[str, Any]) -> None:
        if event.get("level") in ("error", "critical") or event.get("event") == "output":
            self._last_error = redact_text(str(event.get("error") or event.get("text") or event.get("event")))
        if event.get("event") == "service_ready":
            self.http_url = str(event.get("http_url", ""))
            self._was_ready = True
            self._ready.set()
            self._on_change()


async def next_line(stream: asyncio.StreamReader) -> bytes:
    """A child's next line, empty at its end; a line beyond the stream's limit becomes an event that says so."""
    try:
        return await stream.readline()
    except ValueError:  # asyncio has thrown the line away
        return b'{"event": "log_line_too_long", "level": "warning"}'


def read_line(line: bytes) -> dict[str, Any]:
    """A child's line as an event; what is no JSON object (a crash, a library's print) becomes one, redacted."""
    text = line.decode(errors="replace").rstrip("\n")
    try:
        event = json.loads(text)
    except json.JSONDecodeError:
        event = None
    if isinstance(event, dict):
        return event
    return {"event": "output", "level": "warning", "text": redact_text(text), "timestamp": clock.utc_now().isoformat()}


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends ``number`` to the child when this process dies, however it dies (Linux)."""
    libc = ctypes.CDLL(None)

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))

    return arm


async def stop(process: asyncio.subprocess.Process, timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """SIGTERM, and SIGKILL if that is not enough."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
