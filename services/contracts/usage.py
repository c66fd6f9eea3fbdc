"""The usage event: a CloudEvents 1.0 JSON of at most 4 KB with cumulative or exact integer meters."""

import hashlib
import json
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from services.contracts.ids import CallId, Epoch, SessionId, TenantId

MAX_EVENT_BYTES = 4096
MAX_QUANTITY = 2**53 - 1
"""Larger integers lose digits in other JSON parsers; no call comes near."""


class MalformedUsageError(ValueError):
    """Bytes that are not a valid usage event."""


class Meter(StrEnum):
    """Measured quantities. Media produces gated, played and call_ms; upstream all others."""

    AUDIO_SENT_MS = "audio_sent_ms"
    AUDIO_GATED_MS = "audio_gated_ms"
    AUDIO_GENERATED_MS = "audio_generated_ms"
    AUDIO_PLAYED_MS = "audio_played_ms"
    SESSION_MS = "session_ms"
    CALL_MS = "call_ms"
    TOKENS_TEXT_IN = "tokens_text_in"
    TOKENS_TEXT_IN_CACHED = "tokens_text_in_cached"
    TOKENS_TEXT_OUT = "tokens_text_out"
    TOKENS_AUDIO_IN = "tokens_audio_in"
    TOKENS_AUDIO_IN_CACHED = "tokens_audio_in_cached"
    TOKENS_AUDIO_OUT = "tokens_audio_out"
    TOKENS_IMAGE_IN = "tokens_image_in"
    TOKENS_IMAGE_IN_CACHED = "tokens_image_in_cached"
    TOKENS_IMAGE_OUT = "tokens_image_out"
    TRANSCRIBE_MS = "transcribe_ms"
    TRANSCRIBE_TOKENS_IN = "transcribe_tokens_in"
    TRANSCRIBE_TOKENS_OUT = "transcribe_tokens_out"
    ITEMS_CREATED = "items_created"
    TOOL_CALLS = "tool_calls"


TIME_METERS = frozenset(
    {
        Meter.AUDIO_SENT_MS,
        Meter.AUDIO_GATED_MS,
        Meter.AUDIO_GENERATED_MS,
        Meter.AUDIO_PLAYED_MS,
        Meter.SESSION_MS,
        Meter.CALL_MS,
        Meter.ITEMS_CREATED,
        Meter.TOOL_CALLS,
    }
)
"""Cumulative within (tenant, call, session, epoch, meter): the ledger takes the largest.
All others are exact per (tenant, call, session, provider_ref, meter). The `_in` meters hold what was *not* cached:
cached tokens have their own meter, so that the meters of a response add up to its total."""

MEDIA_METERS = frozenset({Meter.AUDIO_GATED_MS, Meter.AUDIO_PLAYED_MS, Meter.CALL_MS})
"""Meters of media; all others are upstream's. They are never billed."""
TAKEN_BACK = "taken_back:"
"""Begins the `provider_ref` of usage of answers that were taken back, as their callers went on speaking."""
MAX_REF_CHARS = 128
_SOURCE_DIGITS = 16

Quantity = Annotated[int, Field(ge=0, le=MAX_QUANTITY, strict=True)]


class UsageData(BaseModel):
    """Measured usage. ``provider_ref``: the provider's response (or transcription) id for exact meters, else empty.

    One event carries either time meters or exact ones, never both. ``seq`` counts this producer's events of the call.
    ``worker``: set by media, the worker that owns the session; usage of that session is accepted from no other.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    call_id: CallId = Field(pattern=r"^rtc_[a-z0-9]{26}$")
    session_id: SessionId = Field(max_length=64)
    epoch: Epoch = Field(ge=0)
    seq: int = Field(ge=0)
    provider: str = Field(min_length=1, max_length=64)
    model: str = Field(min_length=1, max_length=128)
    price_book: str = Field(default="", max_length=64)
    provider_ref: str = Field(default="", max_length=MAX_REF_CHARS)
    worker: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,63}$")
    meters: dict[Meter, Quantity] = Field(min_length=1)

    def content_hash(self) -> str:
        """Return the SHA-256 of the fields that must be equal in all copies of the event."""
        # Events of versions without ``worker`` keep their hash.
        content = self.model_dump(mode="json", exclude={"seq"} if self.worker else {"seq", "worker"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class UsageEvent(BaseModel):
    """The envelope. ``source``: the outbox; ``outboxseq``: position in it, from 1; ``outboxfloor``: the lowest kept."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=64)
    source: str = Field(pattern=r"^[A-Za-z0-9_-]{1,96}$")
    type: Literal["hushgate.usage.v1"] = "hushgate.usage.v1"
    time: AwareDatetime
    subject: TenantId = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")
    datacontenttype: Literal["application/json"] = "application/json"
    outboxseq: int = Field(ge=1)
    outboxfloor: int = Field(ge=1)
    contenthash: str = Field(pattern=r"^[0-9a-f]{64}$")
    data: UsageData

    def encode(self) -> bytes:
        """Return the JSON that is stored and published."""
        return self.model_dump_json().encode()


def taken_back_ref(provider_ref: str) -> str:
    """Return the `provider_ref` of what a taken-back answer has cost: it was generated, and never heard."""
    return f"{TAKEN_BACK}{provider_ref}"[:MAX_REF_CHARS]


def new_source(process: str) -> str:
    """Return a random name for a new outbox of a process, so that metering does not confuse it with a deleted one."""
    return f"{process}-{secrets.token_hex(_SOURCE_DIGITS // 2)}"


def is_source_of(source: str, process: str) -> bool:
    """Whether ``source`` names an outbox of this process; older versions prefixed the file name."""
    owner, _, digits = source.rpartition("-")
    return len(digits) == _SOURCE_DIGITS and owner in (process, f"outbox-media-{process}", f"outbox-upstream-{process}")


def usage_event(  # noqa: PLR0913 - the envelope's fields, all by keyword
    data: UsageData, *, event_id: str, source: str, tenant: TenantId, time: datetime, sequence: int, floor: int
) -> UsageEvent:
    """Return ``data`` in its envelope, with its content hash."""
    return UsageEvent(
        id=event_id,
        source=source,
        time=time,
        subject=tenant,
        outboxseq=sequence,
        outboxfloor=floor,
        contenthash=data.content_hash(),
        data=data,
    )


def decode(data: bytes) -> UsageEvent:
    """Parse a usage event.

    Raises:
        MalformedUsageError: too long, not JSON, an unknown meter, an invalid quantity or a wrong hash.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise MalformedUsageError(f"{len(data)} bytes")
    try:
        event = UsageEvent.model_validate_json(data)
    except ValidationError as exc:
        raise MalformedUsageError("; ".join(e["msg"] for e in exc.errors(include_input=False))) from None
    if event.data.content_hash() != event.contenthash:
        raise MalformedUsageError("the content hash does not match")
    return event
