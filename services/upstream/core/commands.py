"""The commands that the session core returns; `SessionRunner` executes them in order."""

from dataclasses import dataclass
from typing import Literal

from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId
from services.contracts.turn_detection import DetectsTurns
from services.contracts.usage import Meter
from services.upstream.core.capabilities import Capability
from services.upstream.core.json_shape import Json
from services.upstream.core.minute_use import Charge, RateKind

ErrorKind = Literal[
    "malformed",  # the provider sent what is no valid event
    "unexpected",  # an event of the provider about an unknown response or item, or of an unknown type
    "error_event",  # the provider sent an `error` event
    "field_refused",  # it refused a field of the session, which is sent again without it
    "update_refused",  # it refused an update of the client
    "session_refused",  # there is no session as the token grants it: the call ends
    "unconfirmed",  # it did not confirm a session or an update in time
    "response_failed",
    "response_timeout",  # the provider did not begin or end a response in time
    "usage",  # negative, or parts that do not add up
    "too_large",  # an event does not fit a data channel
    "backlog",  # too much was held while no session was in force, or too many responses were requested
    "refused",  # from here on: connecting and closing
    "unavailable",
    "rate_limited",
    "closed",
]
"""Labels of `hushgate_upstream_errors_total`."""

RateOwner = Literal["token", "tenant"]
"""Whose rate it is: of one call, or of all calls of a tenant."""

EagerOutcome = Literal["kept", "taken_back", "refused"]
"""Labels of `hushgate_eager_turns_total`: it was the end, the caller spoke on, or no answer was requested ahead."""

EagerLimit = Literal["later", "off"]
"""Labels of `hushgate_eager_limited_total`."""

TurnStage = Literal["provider_created", "provider_first_audio"]
"""Stages of a turn, measured from the end of the utterance."""


@dataclass(frozen=True, slots=True)
class SendToProvider:
    """Send the provider a client event of the Realtime API."""

    event: Json


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """Send the provider caller audio: s16le mono 16 kHz."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """Publish a server event; media releases it when ``position`` samples of ``item_id`` were played."""

    sequence: int
    event: Json
    item_id: ItemId | None = None
    position: int = 0
    flags: Flag = NO_FLAGS


@dataclass(frozen=True, slots=True)
class PublishAudio:
    """Publish audio of an item from sample ``position`` on: s16le mono 24 kHz. ``end``: the last of the item."""

    item_id: ItemId
    position: int
    pcm: bytes
    end: bool = False


@dataclass(frozen=True, slots=True)
class ClearPlayout:
    """Make media stop playing the item; it replies with a playout report that has ``cut``."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class ApplyTurnDetection:
    """Make media apply ``detection`` from its next frame on. ``number`` counts the changes of the session from 1."""

    number: int
    detection: DetectsTurns


@dataclass(frozen=True, slots=True)
class ItemOver:
    """Drop the audio of an item that waits for credit: the item was played to its end or cut."""

    item_id: ItemId


@dataclass(frozen=True, slots=True)
class BookUsage:
    """Book usage in the ledger. ``provider_ref``: the provider's id of what was metered; empty: cumulative meters.

    ``model``: whose prices apply, if it is not the session's (transcription).
    """

    meters: dict[Meter, int]
    provider_ref: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class CountError:
    """Count and log an error."""

    kind: ErrorKind
    detail: str = ""  # a code of the provider; never a message, which may quote the caller


@dataclass(frozen=True, slots=True)
class CountMissing:
    """Count and log a capability that the session needs and its provider lacks; once per session."""

    capability: Capability


@dataclass(frozen=True, slots=True)
class TakeRates:
    """Take ``charges`` of the tenant's rates, and answer with ``ticket``; 0: without an answer."""

    ticket: int
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True)
class CountRateRefusal:
    """Count and log that a rate of the token or tenant refused something."""

    owner: RateOwner
    kind: RateKind


@dataclass(frozen=True, slots=True)
class CountEagerTurn:
    """Count what became of a turn that had probably ended."""

    outcome: EagerOutcome


@dataclass(frozen=True, slots=True)
class CountEagerLimit:
    """Count and log that a call's eager ends come later, or not at all: taken-back answers cost too much."""

    limit: EagerLimit


@dataclass(frozen=True, slots=True)
class ObserveStage:
    """Record how long a stage of a turn took."""

    stage: TurnStage
    seconds: float


@dataclass(frozen=True, slots=True)
class SessionInForce:
    """Record how long a new connection's session took until the provider had confirmed it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close the connection to the provider when all before this is written, and open a new one."""


@dataclass(frozen=True, slots=True)
class EndSession:
    """End the call: it cannot continue."""

    reason: EndReason
    detail: str = ""


SessionCommand = (
    SendToProvider
    | AppendAudio
    | PublishEvent
    | PublishAudio
    | ClearPlayout
    | ApplyTurnDetection
    | ItemOver
    | BookUsage
    | CountError
    | CountMissing
    | TakeRates
    | CountRateRefusal
    | CountEagerTurn
    | CountEagerLimit
    | ObserveStage
    | SessionInForce
    | Reconnect
    | EndSession
)
