"""State of a token: issued, redeemed once, then for a day the credential of its call. Decides; stores nothing.

The shell applies each decision as one conditional update of the record it was made on; the loser of a race is
refused like any later attempt. The record of a redeemable token includes its session; the record of a redeemed
token is small.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.contracts.grant import Grant
from services.contracts.ids import NO_KEY, CallId, KeyId, TenantId

REDEEMED_TTL_MS = 24 * 3600 * 1000
"""How long a redeemed token may hang up and read the usage of its own call."""
SLACK_MS = 30_000
"""How much longer than it is valid a record is stored, so that the metric distinguishes expired from unknown."""
_FORM = re.compile(r"ek_[A-Za-z0-9_-]{43}\Z")


class Rejection(StrEnum):
    """Why a token is refused: the label of the metric. The client receives the same error for all reasons."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    LOST_RACE = "lost_race"
    TENANT_GONE = "tenant_gone"
    KEY_GONE = "key_gone"
    NOT_REDEEMED = "not_redeemed"


class MalformedRecordError(ValueError):
    """The record stored under the token's hash cannot be read."""


class _GrantRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def encode(self) -> bytes:
        """Return the JSON to store."""
        return self.model_dump_json().encode()


class Issued(_GrantRecord):
    """The token has not been redeemed."""

    state: Literal["issued"] = "issued"
    grant: Grant
    issued_unix_ms: int = Field(default=0, ge=0)
    """Mint time, Unix ms; 0: issued by an older version."""
    expires_unix_ms: int = Field(ge=0)


class Redeemed(_GrantRecord):
    """The token was redeemed for ``call`` and cannot be redeemed again."""

    state: Literal["redeemed"] = "redeemed"
    call: CallId
    tenant: TenantId
    key: KeyId = NO_KEY
    redeemed_unix_ms: int = Field(ge=0)


TokenRecord = Issued | Redeemed
_ADAPTER: TypeAdapter[TokenRecord] = TypeAdapter(Annotated[TokenRecord, Field(discriminator="state")])


def well_formed(value: str) -> bool:
    """Return whether the text has the form of a token; others are not looked up."""
    return _FORM.match(value) is not None


def decode(data: bytes) -> TokenRecord:
    """Decode a stored record.

    Raises:
        MalformedRecordError: not JSON, or a field is invalid.
    """
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError:
        raise MalformedRecordError("a stored grant cannot be read") from None


def redeem(record: TokenRecord, call: CallId, *, now_unix_ms: int) -> Redeemed | Rejection:
    """Return the record after its token was presented with an offer for ``call``, or why it is refused."""
    if isinstance(record, Redeemed):
        return Rejection.USED
    if now_unix_ms >= record.expires_unix_ms:
        return Rejection.EXPIRED
    return Redeemed(call=call, tenant=record.grant.tenant, key=record.grant.key, redeemed_unix_ms=now_unix_ms)


def redeemable_ttl_s(record: Issued, *, now_unix_ms: int) -> int:
    """Return the seconds for which the record of a token must be stored, redeemed or not."""
    return max(1, (record.expires_unix_ms + SLACK_MS - now_unix_ms) // 1000)


def redeemed_call(record: TokenRecord, *, now_unix_ms: int) -> CallId | Rejection:
    """Return the call that the token may hang up and read the usage of, or why it is refused."""
    if isinstance(record, Issued):
        return Rejection.NOT_REDEEMED
    if now_unix_ms >= record.redeemed_unix_ms + REDEEMED_TTL_MS:
        return Rejection.EXPIRED
    return record.call
