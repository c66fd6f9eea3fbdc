"""What the cores of a call ask its shell to do, in this order."""

from dataclasses import dataclass
from typing import Literal

from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.ids import ItemId
from services.contracts.messages import CloseReason, OpenCause


@dataclass(frozen=True, slots=True)
class SendUp:
    """Publish a frame to the worker; the shell adds epoch and time."""

    kind: Kind
    position: int
    payload: bytes = b""
    item_id: ItemId | None = None
    flags: Flag = NO_FLAGS


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
    """The gate closed."""

    reason: CloseReason


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
