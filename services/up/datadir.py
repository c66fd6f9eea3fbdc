"""The data directory of `hushgate up`: its lock, tenant key, tenants file and `up.json`."""

import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.runtime.errors import HushgateError

TENANT = "local"
_KEY_FILE = "tenant.key"
_TENANTS_FILE = "tenants.json"
_UP_FILE = "up.json"
_PRIVATE = 0o700
_OTHERS = 0o077


class DataDirectoryError(HushgateError):
    """The data directory cannot be used."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """The data directory, locked by this process."""

    path: Path
    tenant_key: str

    @property
    def tenants_file(self) -> Path:
        """Path of the tenants file for signaling; it holds the hash of the tenant key."""
        return self.path / _TENANTS_FILE

    def write_up_json(self, *, url: str, page_url: str, nats_url: str, services: Mapping[str, tuple[int, str]]) -> None:
        """Replace `up.json`, which gives URLs, process ids and the tenant key to tests, `hushgate load` and scripts."""
        content = {
            "url": url,
            "page_url": page_url,
            "tenant_key": self.tenant_key,
            "nats_url": nats_url,
            "services": {name: {"pid": pid, "http_url": http} for name, (pid, http) in services.items()},
        }
        _write_private(self.path / _UP_FILE, json.dumps(content, indent=2) + "\n")

    def remove_up_json(self) -> None:
        """Remove `up.json`, because no service runs any more."""
        (self.path / _UP_FILE).unlink(missing_ok=True)


@contextmanager
def data_directory(path: Path) -> Iterator[DataDirectory]:
    """Lock ``path`` for this process while the block runs; create it and its tenant key if missing.

    Raises:
        DataDirectoryError: another process has locked it, it is not writable, or other users could read it.
    """
    try:
        path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        # Locking the directory itself leaves no lock file behind, even after a crash.
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise DataDirectoryError(f"cannot use {path} for data ({exc.strerror}): choose another with --data") from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataDirectoryError(
                f"{path} is in use by another `hushgate up`{_owner_url(path)}: stop it, or choose another with --data"
            ) from None
        _make_private(path, handle)
        try:
            directory = DataDirectory(path.resolve(), _tenant_key(path))
            _write_private(directory.tenants_file, _tenants(directory.tenant_key))
        except OSError as exc:
            raise DataDirectoryError(f"cannot write in {path} ({exc.strerror}): choose another with --data") from exc
        try:
            yield directory
        finally:
            directory.remove_up_json()
    finally:
        os.close(handle)


def _make_private(path: Path, handle: int) -> None:
    """Remove other users' permissions: the directory holds keys, ledger and streams.

    Only a directory that is empty or Hushgate's is changed; another may be meant for others to read.
    """
    status = os.fstat(handle)
    if status.st_uid != os.geteuid():
        raise DataDirectoryError(f"{path} belongs to another user (uid {status.st_uid}): choose another with --data")
    if not status.st_mode & _OTHERS:
        return
    if any(path.iterdir()) and not (path / _KEY_FILE).exists():
        raise DataDirectoryError(
            f"{path} can be read by other users (mode {stat.S_IMODE(status.st_mode):o}) and holds files that are not "
            f"Hushgate's: choose another with --data, or run chmod 700 {path}"
        )
    os.fchmod(handle, _PRIVATE)


def _owner_url(path: Path) -> str:
    try:
        return f" ({json.loads((path / _UP_FILE).read_text())['url']})"
    except (OSError, ValueError, KeyError):
        return ""


def _tenant_key(path: Path) -> str:
    file = path / _KEY_FILE
    if not file.exists():
        _write_private(file, f"hg_{secrets.token_urlsafe(32)}\n")
    return file.read_text().strip()


def _tenants(key: str) -> str:
    tenant = {
        "id": TENANT,
        "keys_sha256": [hashlib.sha256(key.encode()).hexdigest()],
        "session": {},
        "limits": {"max_seconds": 3600},
        "origins": [],
    }
    return json.dumps({"tenants": [tenant]}, indent=2) + "\n"


def _write_private(file: Path, text: str) -> None:
    """Replace ``file`` atomically, readable only by its owner."""
    part = file.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)
    part.replace(file)
