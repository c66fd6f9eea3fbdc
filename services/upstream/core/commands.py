"""What must happen: the session core returns these in order, and the shell carries them out in order."""

from dataclasses import dataclass
from typing import Literal

from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId
from services.contracts.usage import Meter
from services.upstream.core.shape import Json

ErrorKind = Literal[
    "malformed",  # an event of the provider that is none
    "unexpected",  # it names a response or an item that does not exist
    "error_event",  # it says that something went wrong
    "response_failed",
    "response_timeout",  # it never began a response that was asked for
    "usage",  # negative, or parts that do not add up
    "too_large",  # it does not fit a data channel
    "backlog",  # it was not ready in time for what the caller said
    "refused",  # from here on: connecting and closing
    "unavailable",
    "rate_limited",
    "closed",
]
"""Labels of `hushgate_upstream_errors_total`."""

Stage = Literal["provider_created", "provider_first_audio"]
"""Parts of a turn, from the end of the utterance on."""


@dataclass(frozen=True, slots=True)
class SendToProvider:
    """A client event of the Realtime wire. A commit ends the resampled stream."""

    event: Json


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """Caller audio for the provider: s16le mono 16 kHz."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """A server event for the client: shown once ``position`` samples of ``item_id`` were played."""

    sequence: int
    event: Json
    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


@dataclass(frozen=True, slots=True)
class PublishAudio:
    """Audio of an item from sample ``position`` on: s16le mono 24 kHz. ``end``: it has no more."""

    item_id: ItemId
    position: int
    pcm: bytes
    end: bool = False


@dataclass(frozen=True, slots=True)
class ClearPlayout:
    """Stop playing the item; media answers with a report that is cut."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class ItemOver:
    """The item was played to its end or cut: what is still kept of its audio is never to be played."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class BookUsage:
    """Usage for the ledger. ``provider_ref`` names what exact meters belong to; empty: cumulative meters.

    ``model``: whose prices hold, where it is another than the session's (transcription).
    """

    meters: dict[Meter, int]
    provider_ref: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class CountError:
    """Something went wrong that an operator wants to see."""

    kind: ErrorKind
    detail: str = ""  # a code of the provider; never a message, which may quote the caller


@dataclass(frozen=True, slots=True)
class ObserveStage:
    """How long a part of a turn took."""

    stage: Stage
    seconds: float


@dataclass(frozen=True, slots=True)
class EndCall:
    """The call cannot go on."""

    reason: EndReason
    detail: str = ""


Command = (
    SendToProvider
    | AppendAudio
    | PublishEvent
    | PublishAudio
    | ClearPlayout
    | ItemOver
    | BookUsage
    | CountError
    | ObserveStage
    | EndCall
)
