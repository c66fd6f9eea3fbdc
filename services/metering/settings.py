"""Settings of metering: `METERING_*`."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.metering.booking import Terms
from services.metering.core.ceiling import Ceiling
from services.metering.core.pricing import NANO
from services.runtime.settings import ServiceSettings

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class MeteringSettings(ServiceSettings):
    """Where the ledger lies, who may ask it, what costs how much."""

    model_config = SettingsConfigDict(env_prefix="METERING_", frozen=True, extra="ignore", hide_input_in_errors=True)

    ledger_url: SecretStr = SecretStr("")
    """URL of SQLAlchemy, it may hold a password; empty: SQLite in the data directory."""
    ledger_url_file: Path | None = None
    """Where that URL lies, instead of METERING_LEDGER_URL: a mounted secret."""
    api_token: SecretStr = SecretStr("")
    """What signaling shows; may be empty only on loopback."""
    api_token_file: Path | None = None
    """Where that token lies, instead of METERING_API_TOKEN: a mounted secret."""
    price_books: Path | None = None
    """Directory with price books of the operator; a provider there replaces the one that is shipped."""
    max_usd_per_minute: Decimal = Field(default=Decimal(20), gt=0, le=10_000)
    """The most that a minute of a call may cost, and five minutes at once; usage beyond that is quarantined."""
    hold_s: float = Field(default=60, ge=1, le=86_400)
    """How long usage waits for word of its call; then it is quarantined, until that word comes or it is released."""
    metric_tenants: tuple[str, ...] = Field(default=(), max_length=50)
    """Tenants with a label of their own; all others are `other`."""

    @property
    def terms(self) -> Terms:
        """What is booked."""
        ceiling = Ceiling(nano_per_minute=int(self.max_usd_per_minute * NANO))
        return Terms(ceiling, timedelta(seconds=self.hold_s))

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Self:
        given = self.api_token_file is not None or self.api_token.get_secret_value()
        if not given and self.http_host not in _LOOPBACK:
            raise ValueError("METERING_API_TOKEN is required where METERING_HTTP_HOST is not loopback")
        return self
