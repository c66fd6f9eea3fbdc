"""Signaling's settings: `SIGNALING_…`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.contracts.grant import MAX_PER_MIN
from services.runtime.http.connections import HttpLimits, network
from services.runtime.http.server import Tls
from services.runtime.process.settings import ServiceSettings
from services.signaling.core.limits import RequestRate
from services.signaling.core.tenants import Rates
from services.signaling.core.turn import Relays, checked_url

_RATES = Rates()
"""The rates of a tenant whose operator sets none."""


class SignalingSettings(ServiceSettings):
    """Settings of signaling; see ServiceSettings for those of all services."""

    model_config = SettingsConfigDict(env_prefix="SIGNALING_", frozen=True, hide_input_in_errors=True)

    tenants_file: Path
    """JSON with the hashes of the tenants' keys; re-read when it changes."""
    metering_url: Annotated[str, Field(pattern=r"^$|^https?://")] = ""
    """URL of metering's usage API; empty: usage queries get 503."""
    metering_token: SecretStr = SecretStr("")
    """Token for metering, METERING_API_TOKEN."""
    metering_token_file: Path | None = None
    """File with that token, instead of SIGNALING_METERING_TOKEN: a mounted secret."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    demo_tenant: str = ""
    """The tenant of the page's calls; empty: no page."""
    page_secret: SecretStr = SecretStr("")
    """Secret with which the page gets tokens: the fragment of its URL, `https://HOST/#SECRET`."""
    page_secret_file: Path | None = None
    """File with that secret, instead of SIGNALING_PAGE_SECRET: a mounted secret."""
    provider: str = ""
    """The provider's name, shown by the page."""
    providers: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(default=(), max_length=16)
    """Providers of the upstream workers: metering books only their usage to a call. Empty: any."""
    charged: bool = True
    """Whether that provider charges money."""
    zone: str = Field(default="", max_length=64)
    """Where this process runs: calls are placed on media processes whose MEDIA_ZONE is the same, while they have room.
    Empty: on any.
    """
    default_model: str = Field(default="gpt-realtime-2.1", min_length=1, max_length=128)
    allowed_origins: tuple[str, ...] = ("*",)
    """Browser origins that may call the API, as `https://app.example.com`; `*`: any."""
    mints_per_s: float = Field(default=_RATES.mints_per_s, gt=0, le=10_000)
    """Tokens a second that a tenant may mint per process, unless its `rates` differ."""
    mints_burst: int = Field(default=_RATES.mints_burst, ge=1, le=100_000)
    """Tokens that it may mint at once."""
    offers_per_s: float = Field(default=_RATES.offers_per_s, gt=0, le=10_000)
    """Offers a second of a tenant and its tokens per process, unless its `rates` differ."""
    offers_burst: int = Field(default=_RATES.offers_burst, ge=1, le=100_000)
    """Offers at once."""
    live_tokens: int = Field(default=_RATES.live_tokens, ge=1, le=1_000_000)
    """Tokens of a tenant, minted by this process, that are neither redeemed nor expired."""
    token_bytes: int = Field(default=_RATES.token_bytes, ge=4096, le=1024**4)
    """Their size in bytes; each token has the whole session."""
    live_calls: int = Field(default=_RATES.live_calls, ge=1, le=1_000_000)
    """Calls of a tenant at once, in all media processes, unless its `rates` differ."""
    half_open_calls: int = Field(default=_RATES.half_open_calls, ge=1, le=1_000_000)
    """Of these, calls whose client has not connected yet; media ends them after 10 s."""
    responses_per_min: int = Field(default=_RATES.responses_per_min, ge=0, le=MAX_PER_MIN)
    """Responses of a tenant in any sixty seconds, in all workers, unless its `rates` differ. 0: no limit."""
    audio_seconds_per_min: int = Field(default=_RATES.audio_seconds_per_min, ge=0, le=MAX_PER_MIN)
    """Seconds of its callers' audio: the default is what 1,000 calls speak without a pause. 0: no limit."""
    input_tokens_per_min: int = Field(default=_RATES.input_tokens_per_min, ge=0, le=MAX_PER_MIN)
    """Input tokens of its responses. 0: no limit."""
    address_per_s: float = Field(default=5, gt=0, le=10_000)
    """Requests a second without a valid key or token, or for the page's token, per address (IPv6: per /64)."""
    address_burst: int = Field(default=60, ge=1, le=100_000)
    """Such requests at once."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of the proxies in front, as `10.0.0.0/8`, whose `X-Forwarded-*` are used."""
    max_connections: int = Field(default=4096, ge=64, le=100_000)
    """Connections of this process. Beyond it the longest idle one without a request is closed."""
    max_connections_per_address: int = Field(default=1024, ge=16, le=100_000)
    """Connections of one IPv4 address or IPv6 /64, except trusted proxies."""
    head_timeout_s: float = Field(default=10, ge=1, le=60)
    """Time for a TLS handshake, and for a request's head from its first byte to its last."""
    body_timeout_s: float = Field(default=10, ge=1, le=60)
    """Time for a request's body, from the end of its head."""
    write_timeout_s: float = Field(default=10, ge=1, le=60)
    """Time for a client to read its response."""
    turn_urls: tuple[str, ...] = ()
    """TURN servers for clients, as `turn:turn.example.com:3478?transport=udp`; may be empty."""
    turn_secret_file: Path | None = None
    """File with the servers' `static-auth-secret`; re-read for each credential."""
    turn_ttl_s: int = Field(default=7200, ge=60, le=172_800)
    """Validity of a credential: longer than a token's validity plus its call, or late ICE restarts get no relay."""
    turn_only: bool = False
    """Whether the media processes are reachable only through those servers: clients then use only relays."""

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
        """Return the rates of tenants whose entry sets none."""
        return Rates(**{name: getattr(self, name) for name in Rates.model_fields})

    @property
    def address_rate(self) -> RequestRate:
        """Return the request rate of an address without a valid key."""
        return RequestRate(self.address_per_s, self.address_burst)

    @property
    def http_limits(self) -> HttpLimits:
        """Return the bounds of the HTTP listener."""
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
        """Return the TURN servers."""
        return Relays(self.turn_urls, self.turn_ttl_s, only=self.turn_only)

    @property
    def tls(self) -> Tls | None:
        """Return certificate and key; None: TLS is terminated elsewhere."""
        return Tls(self.tls_cert, self.tls_key) if self.tls_cert and self.tls_key else None
