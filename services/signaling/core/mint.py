"""What a tenant may seal into a token: session, limits, locks and events, within what its own entry allows."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from services.contracts.grant import ALWAYS_LOCKED, Grant, Limits, OwnEvent, SessionConfig
from services.signaling.core.session_config import (
    LOCKABLE,
    LockedFieldError,
    Session,
    bounded,
    checked,
    merged,
    narrowed,
)
from services.signaling.core.tenants import Tenant

DEFAULT_REDEEM_S = 60
"""The provider gives 600 s; a token that is used at once needs less, and a leaked one is worth less."""


class InvalidMintError(ValueError):
    """A field of the request is wrong; ``param`` is its path."""

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"{param}: {problem}" if param else problem)
        self.param = param


class ExpiresAfter(BaseModel):
    """How long a token can be redeemed."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=DEFAULT_REDEEM_S, ge=10, le=7200)


class Extension(BaseModel):
    """What this gateway adds to the provider's request. A misspelt limit must not go unnoticed, so nothing else."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    max_seconds: int | None = Field(default=None, ge=1, le=86_400)
    max_cost_usd: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,9})?$")
    locked: list[str] = Field(default_factory=list)
    events: list[OwnEvent] = Field(default_factory=list)

    @field_validator("locked")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if unknown := sorted(set(names) - LOCKABLE):
            raise ValueError(f"no such field of a session: {unknown[0][:40]}")
        return names


class MintRequest(BaseModel):
    """The body of `POST /v1/realtime/client_secrets`."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    expires_after: ExpiresAfter | None = None
    session: dict[str, JsonValue] | None = None
    hushgate: Extension | None = None


def read(body: Mapping[str, JsonValue]) -> MintRequest:
    """Check the body of a request for a token.

    Raises:
        InvalidMintError: a field is wrong.
    """
    try:
        return MintRequest.model_validate(body)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise InvalidMintError(".".join(map(str, first["loc"])), first["msg"]) from None


def grant(tenant: Tenant, request: MintRequest, *, default_model: str) -> Grant:
    """What a token of ``tenant`` will allow.

    Raises:
        InvalidSessionError: the session is wrong.
        InvalidMintError: a limit is above the tenant's.
    """
    asked = request.hushgate or Extension()
    wanted = checked(request.session or {})
    return Grant(
        tenant=tenant.id,
        session=effective(tenant.session, wanted, default_model=default_model),
        limits=_limits(tenant.limits, asked),
        locked=tuple(dict.fromkeys((*ALWAYS_LOCKED, *asked.locked))),
        events=tuple(dict.fromkeys(asked.events)),
    )


def effective(defaults: SessionConfig, wanted: SessionConfig, *, default_model: str) -> SessionConfig:
    """A whole session: the gateway's defaults, under the tenant's, under what is wanted.

    Raises:
        InvalidSessionError: it is too large.
    """
    return bounded(merged(merged({"type": "realtime", "model": default_model}, defaults), wanted))


def redeemed(sealed: Grant, session: Mapping[str, JsonValue] | None) -> Grant:
    """The grant of a call whose token holder sent ``session`` with the offer.

    Raises:
        InvalidSessionError: the session is wrong.
        LockedFieldError: it changes what is locked.
    """
    if session is None:
        return sealed
    if "hushgate" in session:
        raise LockedFieldError("hushgate")
    locked = frozenset(field for field in Session.model_fields if sealed.is_locked(field))
    session = bounded(narrowed(sealed.session, checked(session), locked=locked))
    return sealed.model_copy(update={"session": session})


def _limits(of_tenant: Limits, asked: Extension) -> Limits:
    seconds = asked.max_seconds or of_tenant.max_seconds
    if seconds > of_tenant.max_seconds:
        raise InvalidMintError("hushgate.max_seconds", f"at most {of_tenant.max_seconds} for this tenant")
    cost = asked.max_cost_usd or of_tenant.max_cost_usd
    if cost and of_tenant.max_cost_usd and Decimal(cost) > Decimal(of_tenant.max_cost_usd):
        raise InvalidMintError("hushgate.max_cost_usd", f"at most {of_tenant.max_cost_usd} for this tenant")
    return Limits(max_seconds=seconds, max_cost_usd=cost)
