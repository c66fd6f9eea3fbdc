"""Checks of this machine for `hushgate up`: port, data directory, NATS, clock."""

import asyncio
import ctypes
import os
import shutil
import stat
import tempfile
from pathlib import Path

import nats.errors
import nats.js.errors
import psutil
from nats.aio.client import Client

from services.doctor.finding import Finding, fail, ok, warn
from services.runtime import clock
from services.runtime.errors import AddressInUseError
from services.runtime.http.server import listen
from services.up.nats_server import NatsServerError, nats_server

FEW_BYTES, TOO_FEW_BYTES = 1 << 30, 100 << 20
_FEW_INODES = 1000
_EARLIEST = 1_735_689_600  # 2025-01-01: before the first version
_TIMEX_BYTES = 208  # of struct timex; all zero reads the state and sets nothing
_NOT_SYNCHRONISED = 5  # TIME_ERROR of linux/timex.h
_TIMEOUT_S = 5.0


def check_port(host: str, port: int, *, running_url: str) -> Finding:
    """Check whether the port is free, or used by the running `hushgate up` at ``running_url``."""
    if running_url:
        return ok("port", f"hushgate up serves {running_url}")
    try:
        listen(host, port).close()
    except AddressInUseError as exc:
        return fail("port", f"{exc}{_process_on(port)}", "stop that program, or choose another port with --port")
    return ok("port", f"{host}:{port} is free" if port else f"{host} has free ports")


def _process_on(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" (held by {psutil.Process(connection.pid).name()}, pid {connection.pid})"
    except psutil.Error:
        pass  # only root sees other users' programs
    return ""


def check_data(path: Path) -> list[Finding]:
    """Check whether the data directory is writable, private, and has free space."""
    existing = _nearest_existing(path)
    if not existing.is_dir():
        return [fail("data", f"{existing} is no directory", "choose another with --data")]
    try:
        with tempfile.NamedTemporaryFile(dir=existing) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        return [fail("data", f"cannot write in {existing}: {exc.strerror}", "correct its owner, or use another --data")]
    return [_permissions(path), _free_space(existing)]


def _nearest_existing(path: Path) -> Path:
    """Return ``path``, or the nearest parent that exists."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _permissions(path: Path) -> Finding:
    if not path.exists():
        return ok("data", f"{path} can be made")
    for file in (path, *(path / name for name in ("tenant.key", "tenants.json", "up.json"))):
        mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0
        if mode & 0o077:
            wanted = "700" if file == path else "600"
            return warn("data", f"{file} has mode {mode:o}: other users can read it", f"chmod {wanted} {file}")
    return ok("data", f"{path} can be written, and only by its owner")


def _free_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    status = os.statvfs(folder)
    if status.f_files and status.f_favail < _FEW_INODES:
        return fail("disk", f"{folder} has {status.f_favail} inodes left", "remove files, or use another --data")
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    mend = "free space, or put the data elsewhere with --data: ledger, usage and NATS streams grow there"
    if free < TOO_FEW_BYTES:
        return fail("disk", text, mend)
    return warn("disk", text, mend) if free < FEW_BYTES else ok("disk", text)


async def check_nats(data: Path, *, running_url: str) -> Finding:
    """Check whether NATS stores messages: the running `hushgate up`'s, else a temporary nats-server."""
    try:
        if running_url:
            async with asyncio.timeout(_TIMEOUT_S):
                await _store_message(running_url)
            return ok("nats", "the server of hushgate up stores messages")
        folder = _nearest_existing(data)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as scratch:
            async with nats_server(Path(scratch)) as server:
                async with asyncio.timeout(_TIMEOUT_S):
                    await _store_message(server.url)
        return ok("nats", "nats-server starts and stores messages")
    except NatsServerError as exc:
        return fail("nats", str(exc), "pip install 'hushgate[all]'; if it is installed, the message says what it lacks")
    except (OSError, TimeoutError, nats.errors.Error, nats.js.errors.Error) as exc:
        reason = str(exc) or type(exc).__name__
        return fail("nats", f"no message can be stored: {reason}", "look at nats/nats.log in the data directory")


async def _store_message(url: str) -> None:
    client = Client()
    try:
        await _connect(client, url)
        jetstream = client.jetstream(timeout=_TIMEOUT_S)
        name = f"doctor-{os.getpid()}"
        await jetstream.add_stream(name=name, subjects=[name], max_bytes=4096)
        try:
            await jetstream.publish(name, b"x")
        finally:
            await jetstream.delete_stream(name)
    finally:
        await client.close()  # after a refused connection, too: the client leaves its socket open


async def _connect(client: Client, url: str) -> None:
    seen: Exception | None = None

    async def on_error(error: Exception) -> None:
        nonlocal seen
        seen = error

    try:
        await client.connect(
            url,
            connect_timeout=int(_TIMEOUT_S),
            allow_reconnect=False,
            max_reconnect_attempts=1,  # 0 would retry forever
            reconnect_time_wait=0,
            error_cb=on_error,
        )
    except nats.errors.NoServersError as exc:
        raise seen or exc from exc  # the cause of the last attempt's failure


def check_clock() -> Finding:
    """Check whether this machine's clock is set and synchronised; tokens, traces and bills depend on it."""
    now, mend = f"{clock.utc_now():%Y-%m-%d %H:%M:%S} UTC", "run an NTP client: timedatectl set-ntp true"
    if clock.unix_ms() < _EARLIEST * 1000:
        return fail("clock", f"the clock is at {now}", mend)
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return ok("clock", f"{now}; this system does not say whether it is synchronised")
    if state == _NOT_SYNCHRONISED:
        return warn("clock", f"{now}, and the kernel reports that it is not synchronised", mend)
    return ok("clock", f"{now}, synchronised")
