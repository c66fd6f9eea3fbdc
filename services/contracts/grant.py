"""What a token allows: made by signaling, passed to media with the offer and to upstream with the claim."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.contracts.ids import NO_KEY, KeyId, TenantId
from services.contracts.session.fields import SessionConfig

OwnEvent = Literal["gate", "gate.score", "usage", "turn"]
"""The gateway's own events, sent only if a token asks for them: strict clients report unknown events as errors."""


MAX_PER_MIN = 1_000_000_000


class MinuteLimits(BaseModel):
    """What may be used in any sixty seconds; None: without a limit."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    responses_per_min: int | None = Field(default=None, ge=1, le=MAX_PER_MIN)
    """Responses requested of the provider: the client's and those of the caller's turns."""
    audio_seconds_per_min: int | None = Field(default=None, ge=1, le=MAX_PER_MIN)
    """Seconds of the caller's audio that the provider gets."""
    input_tokens_per_min: int | None = Field(default=None, ge=1, le=MAX_PER_MIN)
    """Input tokens of responses, as the provider reports them when each is done."""


class Limits(MinuteLimits):
    """Limits of one call."""

    max_seconds: int = Field(default=3600, ge=1, le=86_400)


class Grant(BaseModel):
    """The part of a grant that other services need: tenant, key, effective session, locks, limits, opt-in events."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: TenantId
    session: SessionConfig
    limits: Limits = Limits()
    tenant_limits: MinuteLimits = MinuteLimits()
    """Limits of all the tenant's calls together."""
    locked: tuple[str, ...] = ()
    events: tuple[OwnEvent, ...] = ()
    eager: bool = True
    """Whether its answers may be requested before a turn's end is certain, which costs those that are taken back."""
    key: KeyId = NO_KEY
    """The tenant key that minted the token, or made the call itself."""
