"""The tenants file: key hashes, default sessions, limits and rates of each tenant."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.contracts import ids
from services.contracts.grant import MAX_PER_MIN, Limits, MinuteLimits
from services.contracts.ids import KeyId, TenantId
from services.contracts.messages import KeysChecked, TenantKey
from services.contracts.session.fields import SessionConfig
from services.contracts.session.parse import parse_session

NO_SPEND_LIMIT = "a limit of money is not enforced yet: leave max_cost_usd out and bound calls by max_seconds"
KEY_ID_CHARS = 16
KeyHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class InvalidTenantsError(ValueError):
    """The tenants file is invalid; ``str()`` names the first wrong field."""


class Rates(BaseModel):
    """What a tenant may request and have at once. Unknown fields are refused.

    Requests and tokens are counted by each signaling process, calls over all media processes, responses and what they
    use over all workers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    mints_per_s: float = Field(default=20, gt=0, le=10_000)
    """Tokens a second, sustained."""
    mints_burst: int = Field(default=200, ge=1, le=100_000)
    """Tokens in a burst."""
    offers_per_s: float = Field(default=20, gt=0, le=10_000)
    """Offers a second, sustained."""
    offers_burst: int = Field(default=200, ge=1, le=100_000)
    """Offers in a burst."""
    live_tokens: int = Field(default=10_000, ge=1, le=1_000_000)
    """Maximum number of tokens that are neither redeemed nor expired."""
    token_bytes: int = Field(default=32 * 1024 * 1024, ge=4096, le=1024**4)
    """Maximum size of those tokens in the store."""
    live_calls: int = Field(default=1000, ge=1, le=1_000_000)
    """Calls at once."""
    half_open_calls: int = Field(default=200, ge=1, le=1_000_000)
    """Calls at once that are being answered, or are answered but not connected."""
    responses_per_min: int = Field(default=10_000, ge=0, le=MAX_PER_MIN)
    """Responses in any sixty seconds, of all its calls together; 0: without a limit."""
    audio_seconds_per_min: int = Field(default=60_000, ge=0, le=MAX_PER_MIN)
    """Seconds of input audio."""
    input_tokens_per_min: int = Field(default=50_000_000, ge=0, le=MAX_PER_MIN)
    """Input tokens of responses."""

    def overridden_by(self, own: "Rates") -> "Rates":
        """Return these rates, with the fields that ``own`` sets taken from it."""
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    @property
    def in_a_minute(self) -> MinuteLimits:
        """Return the limits that upstream workers enforce."""
        return MinuteLimits(**{name: getattr(self, name) or None for name in MinuteLimits.model_fields})


class Tenant(BaseModel):
    """One tenant: its keys, origins, limits, and the default session of its calls."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: TenantId
    keys_sha256: tuple[KeyHash, ...] = ()
    session: SessionConfig = Field(default_factory=dict)
    limits: Limits = Limits()
    """Limits of one call."""
    rates: Rates = Rates()
    """Rates and numbers of all its calls and tokens; fields that are not set fall back to the operator's settings."""
    eager: bool = True
    """Whether answers may be requested before a turn's end is certain; false: no answer is paid for and not heard."""
    origins: tuple[str, ...] = ()
    """Browser origins that may use this tenant's tokens; empty: any that the gateway allows."""

    def has_key(self, key: KeyId) -> bool:
        """Return whether ``key`` is one of the tenant's keys, or none: the demo page mints without."""
        return not key or any(known.startswith(key) for known in self.keys_sha256)

    @field_validator("id")
    @classmethod
    def _safe(cls, text: TenantId) -> TenantId:
        return ids.tenant_id(text)

    @field_validator("limits", mode="before")
    @classmethod
    def _known(cls, limits: object) -> object:
        if isinstance(limits, dict) and "max_cost_usd" in limits:
            raise ValueError(NO_SPEND_LIMIT)
        if isinstance(limits, dict) and (unknown := sorted(limits.keys() - Limits.model_fields.keys())):
            raise ValueError(f"there is no limit {str(unknown[0])[:40]}; what a tenant may ask for is in rates")
        return limits

    @field_validator("session")
    @classmethod
    def _valid(cls, session: SessionConfig) -> SessionConfig:
        return parse_session(session)


class _TenantsFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    tenants: tuple[Tenant, ...]


def key_hash(key: str) -> str:
    """Return the SHA-256 of a key or token in hex. Both are random, so no salt is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def key_id(key: str) -> KeyId:
    """Return the id of a tenant key."""
    return KeyId(key_hash(key)[:KEY_ID_CHARS])


@dataclass(frozen=True, slots=True)
class Tenants:
    """The tenants of one version of the file."""

    _by_id: dict[TenantId, Tenant]
    _keys: tuple[tuple[bytes, Tenant], ...]

    @classmethod
    def parse(cls, text: bytes) -> "Tenants":
        """Parse the file.

        Raises:
            InvalidTenantsError: not JSON, an invalid field, or a tenant or key that occurs twice.
        """
        try:
            tenants = _TenantsFile.model_validate_json(text).tenants
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
        """Return the tenant, or None if it is not in the file."""
        return self._by_id.get(tenant)

    def check(self, keys: Iterable[TenantKey]) -> KeysChecked:
        """Return which of ``keys`` are in the file."""
        known: dict[bool, list[TenantKey]] = {True: [], False: []}
        for asked in keys:
            tenant = self._by_id.get(asked.tenant)
            known[tenant is not None and tenant.has_key(asked.key)].append(asked)
        return KeysChecked(known=tuple(known[True]), gone=tuple(known[False]))

    def by_key(self, key: str) -> Tenant | None:
        """Return the tenant of a key, or None. Compares with every key, each in constant time."""
        digest = key_hash(key).encode()
        found = None
        for known, tenant in self._keys:
            if hmac.compare_digest(known, digest):
                found = tenant
        return found
