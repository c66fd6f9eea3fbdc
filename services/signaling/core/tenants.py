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


class Tenant(BaseModel):
    """Who pays, and what its calls are like unless a token says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: TenantId
    keys_sha256: tuple[KeyHash, ...] = ()
    session: SessionConfig = Field(default_factory=dict)
    limits: Limits = Limits()
    origins: tuple[str, ...] = ()
    """Browser origins that may use this tenant's tokens; empty: any that the gateway allows."""

    @field_validator("id")
    @classmethod
    def _safe(cls, text: TenantId) -> TenantId:
        return ids.tenant_id(text)

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
