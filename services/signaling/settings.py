"""Signaling's settings: `SIGNALING_…`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.http import Tls
from services.runtime.settings import ServiceSettings
from services.signaling.core.turn import Relays, checked_url


class SignalingSettings(ServiceSettings):
    """See ServiceSettings for what all services have."""

    model_config = SettingsConfigDict(env_prefix="SIGNALING_", frozen=True, hide_input_in_errors=True)

    tenants_file: Path
    """JSON with the hashes of the tenants' keys; read again when it changes."""
    metering_url: Annotated[str, Field(pattern=r"^$|^https?://")] = ""
    """Where usage is asked for; empty: usage is answered 503."""
    metering_token: SecretStr = SecretStr("")
    """What metering wants to see, METERING_API_TOKEN."""
    metering_token_file: Path | None = None
    """Where that token lies, instead of SIGNALING_METERING_TOKEN: a mounted secret."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    demo_tenant: str = ""
    """The tenant whom the page's calls belong to; empty: no page."""
    provider: str = ""
    """The provider's name as the page shows it."""
    providers: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(default=(), max_length=16)
    """Providers that the upstream workers serve: metering books usage of no other to a call. None: of any."""
    charged: bool = True
    """Whether that provider really charges."""
    default_model: str = Field(default="gpt-realtime-2.1", min_length=1, max_length=128)
    allowed_origins: tuple[str, ...] = ("*",)
    """Browser origins that may call the API, as `https://app.example.com`; `*`: any."""
    turn_urls: tuple[str, ...] = ()
    """TURN servers for clients, as `turn:turn.example.com:3478?transport=udp`; none: clients hear of none."""
    turn_secret_file: Path | None = None
    """What those servers have as `static-auth-secret`; read again for each credential."""
    turn_ttl_s: int = Field(default=7200, ge=60, le=172_800)
    """How long a credential holds. Shorter than a token waits and its call lasts: late ICE restarts find no relay."""
    turn_only: bool = False
    """Whether the media processes are reached by those servers alone, so that clients need not try another way."""

    @field_validator("turn_urls")
    @classmethod
    def _are_turn_servers(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_url(url) for url in urls)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("SIGNALING_TLS_CERT and SIGNALING_TLS_KEY belong together")
        if bool(self.turn_urls) != (self.turn_secret_file is not None):
            raise ValueError("SIGNALING_TURN_URLS and SIGNALING_TURN_SECRET_FILE belong together")
        if self.turn_only and not self.turn_urls:
            raise ValueError("SIGNALING_TURN_ONLY needs SIGNALING_TURN_URLS")
        return self

    @property
    def relays(self) -> Relays:
        """The TURN servers."""
        return Relays(self.turn_urls, self.turn_ttl_s, only=self.turn_only)

    @property
    def tls(self) -> Tls | None:
        """Certificate and key, if the door speaks https by itself."""
        return Tls(self.tls_cert, self.tls_key) if self.tls_cert and self.tls_key else None
