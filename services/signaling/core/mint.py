"""Derive the grant of a token (session, limits, locks, events) from a mint request and the tenant's entry."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from services.contracts.grant import MAX_PER_MIN, Grant, Limits, MinuteLimits, OwnEvent
from services.contracts.ids import NO_KEY, KeyId
from services.contracts.session.fields import SessionConfig
from services.contracts.session.locks import ALWAYS_LOCKED, LOCKABLE, LockedFieldError, redeem_session
from services.contracts.session.merge import merge_sessions
from services.contracts.session.parse import invalid_value, parse_session
from services.contracts.session.sizes import check_size
from services.contracts.session.tool_choice import check_tool_choice
from services.contracts.turn_detection import TurnTerms, out_of_bounds, requested_in
from services.signaling.core.tenants import NO_SPEND_LIMIT, Tenant

DEFAULT_REDEEM_S = 60
"""The provider's default is 600 s; a shorter validity suffices for a token used at once and limits a leaked one."""


class InvalidMintError(ValueError):
    """A field of the request is unknown or invalid; ``param`` is its path, ``code`` that of `InvalidSessionError`."""

    def __init__(self, param: str, problem: str, *, code: str = "invalid_value") -> None:
        super().__init__(f"{param}: {problem}" if param else problem)
        self.param = param
        self.code = code


class ExpiresAfter(BaseModel):
    """Lifetime of a token before it is redeemed. Unknown fields are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=DEFAULT_REDEEM_S, ge=10, le=7200)


class Extension(BaseModel):
    """The `hushgate` object of a mint request. Unknown fields are refused: a misspelt limit would have no effect."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    max_seconds: int | None = Field(default=None, ge=1, le=86_400)
    responses_per_min: int | None = Field(default=None, ge=1, le=MAX_PER_MIN)
    audio_seconds_per_min: int | None = Field(default=None, ge=1, le=MAX_PER_MIN)
    input_tokens_per_min: int | None = Field(default=None, ge=1, le=MAX_PER_MIN)
    locked: list[str] = Field(default_factory=list)
    events: list[OwnEvent] = Field(default_factory=list)

    @field_validator("locked")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if unknown := sorted(set(names) - LOCKABLE):
            raise ValueError(f"no lock has the name {unknown[0][:40]}; there are {', '.join(sorted(LOCKABLE))}")
        return names


class MintRequest(BaseModel):
    """The body of `POST /v1/realtime/client_secrets`. Unknown fields are refused: they would have no effect."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    expires_after: ExpiresAfter | None = None
    session: dict[str, JsonValue] | None = None
    hushgate: Extension | None = None


def read(body: Mapping[str, JsonValue]) -> MintRequest:
    """Validate the body of a mint request.

    Raises:
        InvalidMintError: a field is invalid.
    """
    extension = body.get("hushgate")
    if isinstance(extension, dict) and "max_cost_usd" in extension:
        raise InvalidMintError("hushgate.max_cost_usd", NO_SPEND_LIMIT)
    try:
        return MintRequest.model_validate(body)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        param = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise InvalidMintError(param, "there is no such field", code="unknown_parameter") from None
        raise InvalidMintError(param, first["msg"].removeprefix("Value error, ")) from None


def refuse_needless_limits(request: MintRequest, together: MinuteLimits) -> None:
    """Check that no limit of the token is above what all calls of its tenant have ``together``: it would do nothing.

    Raises:
        InvalidMintError: one is.
    """
    asked = request.hushgate or Extension()
    for name in MinuteLimits.model_fields:
        _lowered(name, getattr(asked, name), getattr(together, name))


def grant(
    tenant: Tenant,
    request: MintRequest,
    *,
    default_model: str,
    key: KeyId = NO_KEY,
    turn_terms: TurnTerms | None = None,
) -> Grant:
    """Return the grant of a token of ``tenant``, minted with its ``key``.

    Its model is locked if the request or the tenant's session names one. ``turn_terms``: what media lets a session set
    of turn detection; None: not known, upstream judges it.

    Raises:
        InvalidSessionError: the session is invalid, or media does not allow its turn detection.
        InvalidMintError: a limit is above the tenant's.
    """
    asked = request.hushgate or Extension()
    wanted = parse_session(request.session or {})
    is_named = wanted.get("model") is not None or tenant.session.get("model") is not None
    locked = (*ALWAYS_LOCKED, *asked.locked) if is_named else asked.locked
    session = effective(tenant.session, wanted, default_model=default_model)
    _check_turn_detection(session, turn_terms)
    return Grant(
        tenant=tenant.id,
        session=session,
        limits=_limits(tenant.limits, asked),
        locked=tuple(dict.fromkeys(locked)),
        events=tuple(dict.fromkeys(asked.events)),
        eager=tenant.eager,
        key=key,
    )


def effective(defaults: SessionConfig, wanted: SessionConfig, *, default_model: str) -> SessionConfig:
    """Merge the gateway's defaults, the tenant's session and ``wanted``, the later ones winning.

    Raises:
        InvalidSessionError: the merged session is too large, or chooses a tool that it does not have.
    """
    base: SessionConfig = {"type": "realtime", "model": default_model}
    return check_tool_choice(check_size(merge_sessions(merge_sessions(base, defaults), wanted)))


def redeemed(sealed: Grant, session: Mapping[str, JsonValue] | None, *, turn_terms: TurnTerms | None = None) -> Grant:
    """Return the grant of a call whose offer came with ``session``; ``turn_terms`` as in `grant`.

    Raises:
        InvalidSessionError: the session is invalid, or media does not allow its turn detection, also the token's own.
        LockedFieldError: the session changes a locked field.
    """
    if session is None:
        _check_turn_detection(sealed.session, turn_terms)
        return sealed
    if "hushgate" in session:
        raise LockedFieldError("session.hushgate", "its limits and locks")
    redeemed_session = redeem_session(sealed.session, parse_session(session), locked=sealed.locked)
    _check_turn_detection(redeemed_session, turn_terms)
    return sealed.model_copy(update={"session": check_tool_choice(check_size(redeemed_session))})


def placed(granted: Grant, tenant_limits: MinuteLimits) -> Grant:
    """Return the grant of a call that is placed now, while its tenant has ``tenant_limits``."""
    return Grant(
        tenant=granted.tenant,
        session=granted.session,
        limits=granted.limits,
        tenant_limits=tenant_limits,
        locked=granted.locked,
        events=granted.events,
        eager=granted.eager,
        key=granted.key,
    )


def _check_turn_detection(session: SessionConfig, terms: TurnTerms | None) -> None:
    if terms is None:
        return
    for field in out_of_bounds(requested_in(session), terms):
        raise invalid_value(field.param, field.problem)


def _limits(own: Limits, asked: Extension) -> Limits:
    return Limits(
        max_seconds=_lowered("max_seconds", asked.max_seconds, own.max_seconds) or own.max_seconds,
        responses_per_min=_lowered("responses_per_min", asked.responses_per_min, own.responses_per_min),
        audio_seconds_per_min=_lowered("audio_seconds_per_min", asked.audio_seconds_per_min, own.audio_seconds_per_min),
        input_tokens_per_min=_lowered("input_tokens_per_min", asked.input_tokens_per_min, own.input_tokens_per_min),
    )


def _lowered(name: str, asked: int | None, most: int | None) -> int | None:
    if asked is not None and most is not None and asked > most:
        raise InvalidMintError(f"hushgate.{name}", f"at most {most} for this tenant")
    return most if asked is None else asked
