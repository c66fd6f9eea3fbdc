"""The life of a token: issued, redeemed once, then for a day a key to its own call. Decisions only, no store.

The shell carries each decision out as one conditional update of the record it was made on; who loses that race is
refused like everyone who comes later. What is stored of a token while it can be redeemed holds its session; what is
stored afterwards is small.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.contracts.grant import Grant
from services.contracts.ids import CallId, TenantId

AFTERLIFE_MS = 24 * 3600 * 1000
"""How long a redeemed token may hang up and read the usage of its own call."""
SLACK_MS = 30_000
"""How much longer a record is stored than it says something, so that the metric tells an expired token from none."""
_FORM = re.compile(r"ek_[A-Za-z0-9_-]{43}\Z")


class Rejection(StrEnum):
    """Why a token is refused: for the metric only, the client sees one answer for all."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    USED = "used"
    LOST_RACE = "lost_race"
    TENANT_GONE = "tenant_gone"
    NOT_REDEEMED = "not_redeemed"


class MalformedRecordError(ValueError):
    """What is stored under the token's hash is no record of ours."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def encode(self) -> bytes:
        """The JSON that is stored."""
        return self.model_dump_json().encode()


class Issued(_Record):
    """Nobody has used the token."""

    state: Literal["issued"] = "issued"
    grant: Grant
    issued_unix_ms: int = Field(default=0, ge=0)
    """0: an older version made it."""
    expires_unix_ms: int = Field(ge=0)


class Redeemed(_Record):
    """The token has become ``call``. Nobody can redeem it again."""

    state: Literal["redeemed"] = "redeemed"
    call: CallId
    tenant: TenantId
    redeemed_unix_ms: int = Field(ge=0)


TokenRecord = Issued | Redeemed
_ADAPTER: TypeAdapter[TokenRecord] = TypeAdapter(Annotated[TokenRecord, Field(discriminator="state")])


def well_formed(value: str) -> bool:
    """Whether it can be a token at all: nobody is asked about what cannot."""
    return _FORM.match(value) is not None


def decode(data: bytes) -> TokenRecord:
    """Read a stored record.

    Raises:
        MalformedRecordError: it is none of ours.
    """
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError:
        raise MalformedRecordError("a stored grant cannot be read") from None


def redeem(record: TokenRecord, call: CallId, *, now_unix_ms: int) -> Redeemed | Rejection:
    """What becomes of the record when its token comes with an offer."""
    if isinstance(record, Redeemed):
        return Rejection.USED
    if now_unix_ms >= record.expires_unix_ms:
        return Rejection.EXPIRED
    return Redeemed(call=call, tenant=record.grant.tenant, redeemed_unix_ms=now_unix_ms)


def redeemable_ttl_s(record: Issued, *, now_unix_ms: int) -> int:
    """How long the record of a token is stored; that it was used, too, for then it would have been redeemable."""
    return max(1, (record.expires_unix_ms + SLACK_MS - now_unix_ms) // 1000)


def afterlife(record: TokenRecord, *, now_unix_ms: int) -> CallId | Rejection:
    """The call that the token may hang up and read the usage of."""
    if isinstance(record, Issued):
        return Rejection.NOT_REDEEMED
    if now_unix_ms >= record.redeemed_unix_ms + AFTERLIFE_MS:
        return Rejection.EXPIRED
    return record.call
