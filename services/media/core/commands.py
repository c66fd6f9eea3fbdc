"""What the cores of a call ask its shell to do, in this order."""

from dataclasses import dataclass
from typing import Final, Literal

from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.ids import ItemId
from services.contracts.messages import CloseReason, OpenCause


@dataclass(slots=True, init=False)
class SendUp:
    """Publish a frame to the worker; the shell adds epoch and time."""

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
    """The call is over. ``by_worker``: the worker said so and need not be told."""

    reason: EndReason
    by_worker: bool = False


@dataclass(frozen=True, slots=True)
class CountGateOpen:
    """The gate opened. ``barge_in_stop_s``: it stopped an answer so long after the caller's onset."""

    cause: OpenCause
    barge_in_stop_s: float | None = None


@dataclass(frozen=True, slots=True)
class CountGateClose:
    """The gate closed after frame ``index``; ``speech_end_at``: the true end of speech."""

    reason: CloseReason
    index: int
    speech_end_at: float


@dataclass(frozen=True, slots=True)
class CountTurn:
    """An answer began ``latency_s`` after the true end of speech."""

    latency_s: float


DropReason = Literal[
    "stale_epoch",
    "malformed",
    "wrong_way",
    "client_event_binary",
    "client_event_too_long",
    "client_event_too_many",
    "client_event_malformed",
]


@dataclass(frozen=True, slots=True)
class CountDropped:
    """Something that came in was thrown away."""

    reason: DropReason


Command = SendUp | SendEvent | EndCall | CountGateOpen | CountGateClose | CountTurn | CountDropped
