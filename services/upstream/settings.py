"""Settings of the upstream workers, from `UPSTREAM_*`."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.process.settings import ServiceSettings


class UpstreamSettings(ServiceSettings):
    """Settings of one upstream worker process."""

    model_config = SettingsConfigDict(env_prefix="UPSTREAM_", frozen=True, extra="ignore", hide_input_in_errors=True)

    url: str
    """The Realtime API's WebSocket, without the model: `wss://api.openai.com/v1/realtime`. No default."""
    provider: str = Field(default="openai", min_length=1, max_length=64)
    """The provider's name, which selects the price book."""
    model: str = Field(default="gpt-realtime-2.1", pattern=r"^[!-~]{1,128}$")
    """Model of grants that name none, and of the probe."""
    api_key: SecretStr = SecretStr("")
    api_key_file: Path | None = None
    """File with the key, instead of UPSTREAM_API_KEY: a mounted secret."""
    probe: bool = False
    """Open one session at the start, to detect a wrong key or URL before the first call."""
    max_sessions: int = Field(default=200, ge=1)
    """Concurrent calls. A full worker leaves the queue group, so claims go to others."""
    eager_waste_percent: int = Field(default=10, ge=0, le=100)
    """Most of a call's response tokens that taken-back answers may cost; above it, fewer are requested early."""
    drain_timeout_s: float = Field(default=3600, gt=0)
    """How long calls may continue after SIGTERM; then they end as `drained`."""

    @field_validator("url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError("give a ws:// or wss:// URL")
        if parts.username or parts.password or parts.fragment:
            raise ValueError("credentials and fragments do not belong into it; the key has a setting of its own")
        return value

    @property
    def settle_timeout_s(self) -> float:
        """How long the end of the process waits for usage to reach the ledger; what is left stays in the outbox."""
        return min(10.0, self.drain_timeout_s / 2)
