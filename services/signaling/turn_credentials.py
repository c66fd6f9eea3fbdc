"""Issue TURN credentials from a secret file, which is read again for each credential."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from services.contracts.ids import CallId, TenantId
from services.runtime import clock
from services.runtime.errors import HushgateError
from services.runtime.telemetry.logging import get_logger
from services.signaling import metrics
from services.signaling.core import turn
from services.signaling.core.token import Issued
from services.signaling.core.turn import IceServer, Relays


class TurnSecretError(HushgateError):
    """The file with the TURN servers' secret cannot be used."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"cannot use the TURN secret in {path} (SIGNALING_TURN_SECRET_FILE): {cause}")
        self.path = path


@dataclass(slots=True)
class TurnCredentials:
    """Issuer of TURN credentials. One identity always gets the same username, so that TURN quotas count by call.

    The username does not reveal the identity to an eavesdropper.
    """

    relays: Relays
    secret_file: Path
    _secret: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read the secret for the first time.

        Raises:
            TurnSecretError: the file holds no usable secret.
        """
        self._secret = self._read()

    def of_token(self, key: str, issued: Issued) -> IceServer:
        """Return the credential of the token stored under ``key``, valid from its mint time."""
        return self._server(f"token {key}", issued.issued_unix_ms // 1000)

    def of_call(self, call: CallId) -> IceServer:
        """Return the credential of a call that a tenant made with its own key, valid from now."""
        return self._server(f"call {call}", clock.unix_ms() // 1000)

    def of_tenant(self, tenant: TenantId) -> IceServer:
        """Return the credential for a tenant's own key without a call: one username per tenant and time window."""
        start = turn.window(self.relays.ttl_s, now_unix_s=clock.unix_ms() // 1000)
        return self._server(f"tenant {tenant} {start}", start)

    def extension(self, server: IceServer) -> Mapping[str, JsonValue]:
        """Return the `hushgate` object of a mint response."""
        return turn.extension(self.relays, server)

    def _server(self, identity: str, from_unix_s: int) -> IceServer:
        # A few dozen bytes, which Kubernetes keeps in memory: reading them is cheaper than a file watcher.
        try:
            self._secret = self._read()
        except TurnSecretError as exc:
            metrics.TURN_SECRET_ERRORS.inc()
            get_logger().error("turn_secret_refused", error=str(exc))  # the last valid secret stays in use
        metrics.TURN_CREDENTIALS.inc()
        name = turn.name_of(self._secret, identity)
        return turn.ice_server(self.relays, self._secret, name=name, now_unix_s=from_unix_s)

    def _read(self) -> bytes:
        try:
            return turn.checked_secret(self.secret_file.read_bytes())
        except OSError as exc:
            raise TurnSecretError(self.secret_file, exc.strerror or str(exc)) from exc
        except ValueError as exc:
            raise TurnSecretError(self.secret_file, str(exc)) from exc
