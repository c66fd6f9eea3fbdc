"""Credentials for the TURN servers, from the secret in a file that may be renewed."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.logging import get_logger
from services.signaling import metrics
from services.signaling.core import turn
from services.signaling.core.turn import IceServer, Relays

_NAME_BYTES = 9


class TurnSecretError(HushgateError):
    """The file with the TURN servers' secret cannot be used."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"cannot use the TURN secret in {path} (SIGNALING_TURN_SECRET_FILE): {cause}")
        self.path = path


@dataclass(slots=True)
class RelayDesk:
    """Hands out credentials, each with a name of its own: it tells an eavesdropper nothing, and quotas are by call."""

    relays: Relays
    secret_file: Path
    _secret: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the secret for the first time.

        Raises:
            TurnSecretError: there is none in the file.
        """
        self._secret = self._read()

    def extension(self) -> Mapping[str, JsonValue]:
        """What goes beside a token."""
        return turn.extension(self.relays, self._fresh())

    def links(self) -> list[str]:
        """What goes into the headers of a WHIP answer."""
        return turn.links(self._fresh())

    def _fresh(self) -> IceServer:
        # Some dozen bytes, which Kubernetes keeps in memory: reading them costs less than a watcher that may fail.
        try:
            self._secret = self._read()
        except TurnSecretError as exc:
            metrics.TURN_SECRET_ERRORS.inc()
            get_logger().error("turn_secret_refused", error=str(exc))  # the last good one goes on
        metrics.TURN_CREDENTIALS.inc()
        name = secrets.token_urlsafe(_NAME_BYTES)
        return turn.ice_server(self.relays, self._secret, name=name, now_unix_s=clock.unix_ms() // 1000)

    def _read(self) -> bytes:
        try:
            return turn.checked_secret(self.secret_file.read_bytes())
        except OSError as exc:
            raise TurnSecretError(self.secret_file, exc.strerror or str(exc)) from exc
        except ValueError as exc:
            raise TurnSecretError(self.secret_file, str(exc)) from exc
