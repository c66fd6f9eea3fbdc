"""The life of a token: issued, redeemed once, then for a day a key to its own call. Decisions only, no store.

The shell carries each decision out as one conditional update of the record it was made on; who loses that race is
refused like everyone who comes later.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.contracts.grant import Grant
from services.contracts.ids import CallId

AFTERLIFE_MS = 24 * 3600 * 1000
"""How long a redeemed token may hang up and read the usage of its own call."""


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

    grant: Grant
    expires_unix_ms: int = Field(ge=0)

    def encode(self) -> bytes:
        """The JSON that is stored."""
        return self.model_dump_json().encode()


class Issued(_Record):
    """Nobody has used the token."""

    state: Literal["issued"] = "issued"


class Redeemed(_Record):
    """The token has become ``call``."""

    state: Literal["redeemed"] = "redeemed"
    call: CallId
    redeemed_unix_ms: int = Field(ge=0)

    def released(self) -> Issued:
        """The token as it was before: only for a call that got no answer."""
        return Issued(grant=self.grant, expires_unix_ms=self.expires_unix_ms)


TokenRecord = Issued | Redeemed
_ADAPTER: TypeAdapter[TokenRecord] = TypeAdapter(Annotated[TokenRecord, Field(discriminator="state")])


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
    return Redeemed(grant=record.grant, expires_unix_ms=record.expires_unix_ms, call=call, redeemed_unix_ms=now_unix_ms)


def afterlife(record: TokenRecord, *, now_unix_ms: int) -> CallId | Rejection:
    """The call that the token may hang up and read the usage of."""
    if isinstance(record, Issued):
        return Rejection.NOT_REDEEMED
    if now_unix_ms >= record.redeemed_unix_ms + AFTERLIFE_MS:
        return Rejection.EXPIRED
    return record.call
