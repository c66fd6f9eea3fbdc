"""Settings of metering: `METERING_*`."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.metering.booking import BookingRules
from services.metering.core.ceiling import Ceiling
from services.metering.core.pricing import NANO
from services.runtime.process.settings import ServiceSettings

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class MeteringSettings(ServiceSettings):
    """Settings of metering: the ledger, its API, prices."""

    model_config = SettingsConfigDict(env_prefix="METERING_", frozen=True, extra="ignore", hide_input_in_errors=True)

    ledger_url: SecretStr = SecretStr("")
    """SQLAlchemy URL, may hold a password; empty: SQLite in the data directory."""
    ledger_url_file: Path | None = None
    """File with that URL, instead of METERING_LEDGER_URL: a mounted secret."""
    api_token: SecretStr = SecretStr("")
    """Token that signaling sends; may be empty only on loopback."""
    api_token_file: Path | None = None
    """File with that token, instead of METERING_API_TOKEN: a mounted secret."""
    price_books: Path | None = None
    """Directory with your price books; a provider there replaces the shipped one."""
    max_usd_per_minute: Decimal = Field(default=Decimal(20), gt=0, le=10_000)
    """Maximum cost of a call per minute in USD, with bursts of five minutes; usage beyond it is quarantined."""
    hold_s: float = Field(default=60, ge=1, le=86_400)
    """How long usage waits for its call's placement; then it is quarantined until that arrives or it is released."""
    metric_tenants: tuple[str, ...] = Field(default=(), max_length=50)
    """Tenants with their own metric label; all others are `other`."""

    @property
    def terms(self) -> BookingRules:
        """The rules of booking."""
        ceiling = Ceiling(nano_per_minute=int(self.max_usd_per_minute * NANO))
        return BookingRules(ceiling, timedelta(seconds=self.hold_s))

    @model_validator(mode="after")
    def _token_unless_loopback(self) -> Self:
        given = self.api_token_file is not None or self.api_token.get_secret_value()
        if not given and self.http_host not in _LOOPBACK:
            raise ValueError("METERING_API_TOKEN is required where METERING_HTTP_HOST is not loopback")
        return self
