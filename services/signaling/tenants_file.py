"""The tenants file on disk, read again when it changes."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.errors import HushgateError
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.core.tenants import InvalidTenantsError, Tenants


class TenantsFileError(HushgateError):
    """The tenants file cannot be read, or is invalid."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"cannot use the tenants file {path} (SIGNALING_TENANTS_FILE): {cause}")
        self.path = path


@dataclass(slots=True)
class TenantsFile:
    """The tenants of the newest valid version of the file."""

    path: Path
    _tenants: Tenants = field(init=False)
    _loaded_version: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Read the file for the first time.

        Raises:
            TenantsFileError: the file is missing or invalid.
        """
        self._loaded_version = self._version()
        try:
            self._tenants = Tenants.parse(self.path.read_bytes())
        except OSError as exc:
            raise TenantsFileError(self.path, exc.strerror or str(exc)) from exc
        except InvalidTenantsError as exc:
            raise TenantsFileError(self.path, str(exc)) from exc
        metrics.TENANTS.set(len(self._tenants))

    def current(self) -> Tenants:
        """Return the tenants, read again if the file changed; a missing or invalid new version is ignored and logged.

        `stat` costs microseconds, so every request does it: a key that was removed from the file is
        refused at once, and no file watcher is needed.
        """
        version = self._version()
        if version != self._loaded_version:
            self._loaded_version = version
            self._load()
        return self._tenants

    def _load(self) -> None:
        try:
            self._tenants = Tenants.parse(self.path.read_bytes())
        except (OSError, InvalidTenantsError) as exc:
            metrics.TENANTS_RELOADS.labels("refused").inc()
            get_logger().error("tenants_file_refused", path=str(self.path), error=str(exc))
            return
        metrics.TENANTS_RELOADS.labels("taken").inc()
        metrics.TENANTS.set(len(self._tenants))
        get_logger().info("tenants_file_loaded", tenants=len(self._tenants))

    def _version(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self.path)  # noqa: PTH116 - follows the symlinks that Kubernetes replaces
        except OSError:
            return (0, 0, 0)
        return status.st_mtime_ns, status.st_size, status.st_ino
