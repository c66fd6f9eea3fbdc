"""One child process: started, its log read, restarted when it exits, stopped."""

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
from services.runtime.process.settings import inherited_environment
from services.runtime.telemetry.logging import redact_text

START_TIMEOUT_S = 60.0
_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_S = 30.0  # a later exit counts as a new failure, not a repetition
_STOP_TIMEOUT_S = 3.0
_LINE_LIMIT = 1024 * 1024
_PR_SET_PDEATHSIG = 1


class ChildFailedError(HushgateError):
    """A child exited before it was ready; the message is the child's last error."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run: `hushgate <command>` with settings in the environment."""

    name: str
    command: str
    environment: Mapping[str, str]
    port_setting: str
    """Name of the setting that fixes its HTTP port on a restart, so that clients still reach it."""


class ChildLog(Protocol):
    """Receives a child's log events."""

    def write_child_event(self, child: str, event: Mapping[str, Any], /) -> None:
        """Write an event that ``child`` logged."""

    def write_event(self, event: str, /, *, level: str = "info", **fields: object) -> None:
        """Write an event about a child."""


class Child:
    """A running child. ``on_change``: its pid or URL changed; ``on_death``: it exited unexpectedly."""

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
        """Pid of the current process, or of the last one."""
        return self._process.pid if self._process else 0

    @property
    def is_ready(self) -> bool:
        """Whether it runs and has logged that it is ready."""
        return self._ready.is_set()

    @property
    def failed(self) -> bool:
        """Whether it exited unexpectedly after it had been ready."""
        return self._was_ready and self._process is not None and self._process.returncode not in (None, 0)

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ChildFailedError: it exited first, or was not ready in time.
        """
        await self._spawn()
        self._task = asyncio.create_task(self._supervise(), name=f"child {self.spec.name}")
        await self.ready()

    async def ready(self) -> None:
        """Wait until it is ready, also across restarts.

        Raises:
            ChildFailedError: it exited before it was ever ready, or is not ready in time.
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
        """Send SIGTERM, after ``timeout_s`` SIGKILL; it is not restarted."""
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
            preexec_fn=signal_on_parent_exit(signal.SIGTERM),
            start_new_session=True,  # Ctrl-C reaches `up` only, which stops the children in order
        )
        self._on_change()

    async def _supervise(self) -> None:
        attempt = -1
        while True:
            started_at = clock.monotonic()
            await self._read_log()
            if self._stopping or not self._was_ready:
                return
            self._ready.clear()
            self._on_death()
            attempt = 0 if clock.monotonic() - started_at > _STEADY_S else attempt + 1
            pause = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
            code = self._process.returncode if self._process else None
            self._console.write_event(
                "child_died", level="error", child=self.spec.name, exit_code=code, restart_in_s=pause
            )
            await asyncio.sleep(pause)
            try:
                await self._spawn()
            except OSError as exc:  # out of memory or processes: may be transient
                self._console.write_event("child_not_started", level="error", child=self.spec.name, error=str(exc))

    async def _read_log(self) -> None:
        """Forward its log until it exits."""
        process = self._process
        if process is None or process.stdout is None:
            return
        while line := await next_line(process.stdout):
            event = read_line(line)
            self._console.write_child_event(self.spec.name, event)
            self._on_log_event(event)
        await process.wait()

    def _on_log_event(self, event: Mapping[str, Any]) -> None:
        if event.get("level") in ("error", "critical") or event.get("event") == "output":
            self._last_error = redact_text(str(event.get("error") or event.get("text") or event.get("event")))
        if event.get("event") == "service_ready":
            self.http_url = str(event.get("http_url", ""))
            self._was_ready = True
            self._ready.set()
            self._on_change()


async def next_line(stream: asyncio.StreamReader) -> bytes:
    """A child's next line, empty at its end; a line beyond the stream's limit becomes an event that reports it."""
    try:
        return await stream.readline()
    except ValueError:  # asyncio has discarded the line
        return b'{"event": "log_line_too_long", "level": "warning"}'


def read_line(line: bytes) -> dict[str, Any]:
    """Parse a child's line as an event; other text (a crash, a library's print) becomes one, redacted."""
    text = line.decode(errors="replace").rstrip("\n")
    try:
        event = json.loads(text)
    except json.JSONDecodeError:
        event = None
    if isinstance(event, dict):
        return event
    return {"event": "output", "level": "warning", "text": redact_text(text), "timestamp": clock.utc_now().isoformat()}


def signal_on_parent_exit(number: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn`: the kernel sends ``number`` to the child when this process exits in any way (Linux)."""
    libc = ctypes.CDLL(None)

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))

    return arm


async def stop(process: asyncio.subprocess.Process, timeout_s: float = _STOP_TIMEOUT_S) -> None:
    """Send SIGTERM, and SIGKILL after ``timeout_s``."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
