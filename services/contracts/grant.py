"""What a token allows: made by signaling, passed to media with the offer and to upstream with the claim."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.contracts.ids import NO_KEY, KeyId, TenantId
from services.contracts.session.fields import SessionConfig

OwnEvent = Literal["gate", "usage", "turn"]
"""The gateway's own events, sent only if a token asks for them: strict clients report unknown events as errors."""


class Limits(BaseModel):
    """Limits of one call."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    max_seconds: int = Field(default=3600, ge=1, le=86_400)


class Grant(BaseModel):
    """The part of a grant that other services need: tenant, key, effective session, locks, limits, opt-in events."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: TenantId
    session: SessionConfig
    limits: Limits = Limits()
    locked: tuple[str, ...] = ()
    events: tuple[OwnEvent, ...] = ()
    key: KeyId = NO_KEY
    """The tenant key that minted the token, or made the call itself."""
