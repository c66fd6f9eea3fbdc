"""What a token allows: made by signaling, carried to media with the offer and to upstream with the claim."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.contracts.ids import TenantId

SessionConfig = dict[str, JsonValue]
"""A Realtime session object in the provider's GA form: model, instructions, audio, tools, …"""

OwnEvent = Literal["gate", "usage", "turn"]
"""Events of our own that a leg may ask for; strict clients report any other unknown event as an error."""

ALWAYS_LOCKED = ("model",)
"""Session fields that a client can never change; limits are not part of the session at all."""


class Limits(BaseModel):
    """How much one call may use."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    max_seconds: int = Field(default=3600, ge=1, le=86_400)
    max_cost_usd: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,9})?$")


class Grant(BaseModel):
    """The part of a grant that travels: who pays, the effective session, what is locked, what is sent besides."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: TenantId
    session: SessionConfig
    limits: Limits = Limits()
    locked: tuple[str, ...] = ()
    events: tuple[OwnEvent, ...] = ()

    def is_locked(self, field: str) -> bool:
        """Whether a client may not set ``field`` of the session."""
        return field in ALWAYS_LOCKED or field in self.locked
