"""The history of calls: what JetStream keeps in PLACED and CALLS, and how far metering has read it."""

from typing import Literal

from pydantic import Field

from services.contracts.endings import EndReason
from services.contracts.ids import CallId, ProcessId, TenantId
from services.contracts.message import Message, UnixMs


class CallPlaced(Message):
    """A media process is about to be offered a call. Published by signaling, once for each such process.

    Metering checks usage against it: usage that contradicts it is quarantined. Without ``providers`` any is accepted.
    """

    type: Literal["call.placed"] = "call.placed"
    call: CallId
    tenant: TenantId
    process: ProcessId
    model: str = ""
    providers: tuple[str, ...] = ()
    max_seconds: int = Field(ge=1)
    placed_unix_ms: UnixMs


class CallStarted(Message):
    """A call was answered. Published by media."""

    type: Literal["call.started"] = "call.started"
    call: CallId
    tenant: TenantId
    process: ProcessId
    provider: str
    model: str
    started_unix_ms: UnixMs


class CallEnded(Message):
    """A call is over. Published by media, exactly one per CallStarted unless the process crashed."""

    type: Literal["call.ended"] = "call.ended"
    call: CallId
    tenant: TenantId
    process: ProcessId
    provider: str
    model: str
    reason: EndReason
    started_unix_ms: UnixMs
    ended_unix_ms: UnixMs


class Watermark(Message):
    """Metering has committed everything of ``source`` up to and including ``sequence``."""

    type: Literal["watermark"] = "watermark"
    source: str
    sequence: int = Field(ge=0)
