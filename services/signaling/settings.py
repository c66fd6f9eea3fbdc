"""Signaling's settings: `SIGNALING_…`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.runtime.http import Tls
from services.runtime.httpconnections import HttpLimits, network
from services.runtime.settings import ServiceSettings
from services.signaling.core.limits import Rate
from services.signaling.core.tenants import Rates
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
    page_secret: SecretStr = SecretStr("")
    """What the page must know to get tokens: the fragment of the address that people open, `https://HOST/#SECRET`."""
    page_secret_file: Path | None = None
    """Where that secret lies, instead of SIGNALING_PAGE_SECRET: a mounted secret."""
    provider: str = ""
    """The provider's name as the page shows it."""
    charged: bool = True
    """Whether that provider really charges."""
    default_model: str = Field(default="gpt-realtime-2.1", min_length=1, max_length=128)
    allowed_origins: tuple[str, ...] = ("*",)
    """Browser origins that may call the API, as `https://app.example.com`; `*`: any."""
    mints_per_s: float = Field(default=20, gt=0, le=10_000)
    """Tokens a second that a tenant may mint here, unless its own `rates` say otherwise."""
    mints_burst: int = Field(default=200, ge=1, le=100_000)
    """Tokens that it may mint at once."""
    offers_per_s: float = Field(default=20, gt=0, le=10_000)
    """Offers a second that a tenant and the holders of its tokens may send here, unless its `rates` say otherwise."""
    offers_burst: int = Field(default=200, ge=1, le=100_000)
    """Offers that they may send at once."""
    live_tokens: int = Field(default=10_000, ge=1, le=1_000_000)
    """Tokens of a tenant that were minted here, were not redeemed and have not expired."""
    address_per_s: float = Field(default=5, gt=0, le=10_000)
    """Requests a second without a good key or token, or for the page's token, from one address (IPv6: one /64)."""
    address_burst: int = Field(default=60, ge=1, le=100_000)
    """Such requests at once."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of the proxies in front, as `10.0.0.0/8`, whose `X-Forwarded-*` are believed."""
    max_connections: int = Field(default=4096, ge=64, le=100_000)
    """Beyond it those give way that have no request in hand, the longest idle first."""
    max_connections_per_address: int = Field(default=1024, ge=16, le=100_000)
    """Of one IPv4 address or IPv6 /64, but for trusted proxies."""
    head_timeout_s: float = Field(default=10, ge=1, le=60)
    """For a TLS handshake, and for the head of a request from its first byte to its last."""
    body_timeout_s: float = Field(default=10, ge=1, le=60)
    """For the body of a request, from the end of its head."""
    write_timeout_s: float = Field(default=10, ge=1, le=60)
    """For a client to read what is written to it."""
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

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(network(text)) for text in proxies)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if self.max_connections_per_address > self.max_connections:
            raise ValueError("SIGNALING_MAX_CONNECTIONS_PER_ADDRESS must not exceed SIGNALING_MAX_CONNECTIONS")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("SIGNALING_TLS_CERT and SIGNALING_TLS_KEY belong together")
        if bool(self.turn_urls) != (self.turn_secret_file is not None):
            raise ValueError("SIGNALING_TURN_URLS and SIGNALING_TURN_SECRET_FILE belong together")
        if bool(self.demo_tenant) != bool(self.page_secret.get_secret_value() or self.page_secret_file):
            raise ValueError("SIGNALING_DEMO_TENANT needs SIGNALING_PAGE_SECRET or SIGNALING_PAGE_SECRET_FILE")
        if self.turn_only and not self.turn_urls:
            raise ValueError("SIGNALING_TURN_ONLY needs SIGNALING_TURN_URLS")
        return self

    @property
    def rates(self) -> Rates:
        """What a tenant may ask for whose entry does not say."""
        return Rates(**{name: getattr(self, name) for name in Rates.model_fields})

    @property
    def address_rate(self) -> Rate:
        """What one address may ask for without a good key."""
        return Rate(self.address_per_s, self.address_burst)

    @property
    def http_limits(self) -> HttpLimits:
        """What the listener takes."""
        return HttpLimits(
            max_connections=self.max_connections,
            max_connections_per_address=self.max_connections_per_address,
            head_timeout_s=self.head_timeout_s,
            body_timeout_s=self.body_timeout_s,
            write_timeout_s=self.write_timeout_s,
            trusted_proxies=self.trusted_proxies,
        )

    @property
    def relays(self) -> Relays:
        """The TURN servers."""
        return Relays(self.turn_urls, self.turn_ttl_s, only=self.turn_only)

    @property
    def tls(self) -> Tls | None:
        """Certificate and key, if the door speaks https by itself."""
        return Tls(self.tls_cert, self.tls_key) if self.tls_cert and self.tls_key else None
