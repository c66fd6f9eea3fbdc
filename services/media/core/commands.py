"""Commands of the core of a call to its shell, to be executed in the order given."""

from dataclasses import dataclass
from typing import Final, Literal

from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.ids import ItemId
from services.contracts.messages import CloseReason, OpenCause
from services.media.core.speech.barge_in import JudgedOutcome


@dataclass(slots=True, init=False)
class SendUp:
    """Publish a frame to the worker; the shell adds the epoch and the time of sending."""

    kind: Final[Kind]
    position: Final[int]
    payload: Final[bytes]
    item_id: Final[ItemId | None]
    flags: Final[Flag]

    def __init__(  # written out: made for every other frame (ADR 9)
        self,
        kind: Kind,
        position: int,
        payload: bytes = b"",
        *,
        item_id: ItemId | None = None,
        flags: Flag = NO_FLAGS,
    ) -> None:
        self.kind = kind
        self.position = position
        self.payload = payload
        self.item_id = item_id
        self.flags = flags


@dataclass(frozen=True, slots=True)
class SendEvent:
    """Send an event to the client."""

    text: str


@dataclass(frozen=True, slots=True)
class EndCall:
    """End the call. ``by_worker``: the worker ended it and is not notified."""

    reason: EndReason
    by_worker: bool = False


@dataclass(frozen=True, slots=True)
class SetThreshold:
    """Set what the speech probabilities of the caller's next frames are compared with."""

    threshold: float


@dataclass(frozen=True, slots=True)
class CountGateOpen:
    """Count an opening of the gate. ``barge_in_stop_s``: from the onset until playout stopped; None: no barge-in.

    ``barge_in_cut_s``: until the answer was given up; later, if it was held before.
    """

    cause: OpenCause
    barge_in_stop_s: float | None = None
    barge_in_cut_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CountJudged:
    """Count a sound of the caller over an answer. ``held_s``: how long that was held for it; None: it was not.

    ``outcome``: what the sound was; `timeout`: not known in time; `stopped`: the answer ended otherwise meanwhile.
    """

    outcome: JudgedOutcome
    held_s: float | None


@dataclass(frozen=True, slots=True)
class CountGateClose:
    """Count a closing of the gate after frame ``index``. ``speech_end_at``: the end of speech, monotonic seconds."""

    reason: CloseReason
    index: int
    speech_end_at: float


@dataclass(frozen=True, slots=True)
class CountTurn:
    """Count a turn: the answer began ``latency_s`` after the end of speech."""

    latency_s: float


DropReason = Literal[
    "stale_epoch",
    "malformed",
    "wrong_way",
    "client_event_binary",
    "client_event_malformed",
    "client_event_too_large",
    "client_event_beyond_window",
]


@dataclass(frozen=True, slots=True)
class CountDropped:
    """Count an input that was dropped; of the client's events, one that was answered by an `error` event."""

    reason: DropReason


CallCommand = (
    SendUp
    | SendEvent
    | EndCall
    | SetThreshold
    | CountGateOpen
    | CountGateClose
    | CountJudged
    | CountTurn
    | CountDropped
)
