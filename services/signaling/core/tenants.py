"""The tenants file: who has which key, with which defaults and limits. Only hashes of keys are in it."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.contracts import ids
from services.contracts.grant import Limits, SessionConfig
from services.contracts.ids import TenantId
from services.signaling.core.session_config import checked

KeyHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class InvalidTenantsError(ValueError):
    """The text is no tenants file; ``str()`` names the first wrong field."""


class Rates(BaseModel):
    """How much of the door a tenant may use, in each signaling process. A misspelt limit must not go unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    mints_per_s: float = Field(default=20, gt=0, le=10_000)
    """Tokens a second, for long."""
    mints_burst: int = Field(default=200, ge=1, le=100_000)
    """Tokens at once."""
    offers_per_s: float = Field(default=20, gt=0, le=10_000)
    """Offers a second, for long."""
    offers_burst: int = Field(default=200, ge=1, le=100_000)
    """Offers at once."""
    live_tokens: int = Field(default=10_000, ge=1, le=1_000_000)
    """Tokens that were not redeemed and have not expired."""

    def under(self, own: "Rates") -> "Rates":
        """These, but for what ``own`` says."""
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


class Tenant(BaseModel):
    """Who pays, and what its calls are like unless a token says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: TenantId
    keys_sha256: tuple[KeyHash, ...] = ()
    session: SessionConfig = Field(default_factory=dict)
    limits: Limits = Limits()
    """How much one call may use."""
    rates: Rates = Rates()
    """How often it may ask; what it does not say is the operator's to say."""
    origins: tuple[str, ...] = ()
    """Browser origins that may use this tenant's tokens; empty: any that the gateway allows."""

    @field_validator("id")
    @classmethod
    def _safe(cls, text: TenantId) -> TenantId:
        return ids.tenant_id(text)

    @field_validator("limits", mode="before")
    @classmethod
    def _known(cls, limits: object) -> object:
        if isinstance(limits, dict) and (unknown := sorted(limits.keys() - Limits.model_fields.keys())):
            raise ValueError(f"there is no limit {str(unknown[0])[:40]}; what a tenant may ask for is in rates")
        return limits

    @field_validator("session")
    @classmethod
    def _valid(cls, session: SessionConfig) -> SessionConfig:
        return checked(session)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tenants: tuple[Tenant, ...]


def key_hash(key: str) -> str:
    """How a key or a token is known here: SHA-256 in hex. Both are random enough to need no salt."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Tenants:
    """All tenants of one version of the file."""

    _by_id: dict[TenantId, Tenant]
    _keys: tuple[tuple[bytes, Tenant], ...]

    @classmethod
    def parse(cls, text: bytes) -> "Tenants":
        """Read the file.

        Raises:
            InvalidTenantsError: not JSON, a field is wrong, or a tenant or a key is there twice.
        """
        try:
            tenants = _File.model_validate_json(text).tenants
        except ValidationError as exc:
            first = exc.errors(include_input=False, include_url=False)[0]
            raise InvalidTenantsError(f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None
        keys = tuple((key.encode(), tenant) for tenant in tenants for key in tenant.keys_sha256)
        if len({tenant.id for tenant in tenants}) < len(tenants):
            raise InvalidTenantsError("tenants: two have the same id")
        if len({key for key, _ in keys}) < len(keys):
            raise InvalidTenantsError("tenants: a key is listed twice")
        return cls({tenant.id: tenant for tenant in tenants}, keys)

    def __len__(self) -> int:
        return len(self._by_id)

    def by_id(self, tenant: TenantId) -> Tenant | None:
        """The tenant, unless it was taken out of the file."""
        return self._by_id.get(tenant)

    def by_key(self, key: str) -> Tenant | None:
        """Whose key this is. All keys are compared, each in constant time."""
        digest = key_hash(key).encode()
        found = None
        for known, tenant in self._keys:
            if hmac.compare_digest(known, digest):
                found = tenant
        return found
