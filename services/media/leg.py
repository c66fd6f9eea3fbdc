"""The interface between a call and its legs. WebRTC is one kind; each further kind is a folder in `legs`."""

from dataclasses import dataclass
from typing import Literal, Protocol

from services.contracts.audio import PcmFrame
from services.contracts.client_event import EncodedText
from services.contracts.connect import LegAnswer, LegOffer
from services.contracts.endings import EndReason
from services.contracts.ids import LegId

PacedBy = Literal["gateway", "client"]
"""Who paces playout: the gateway, which then also measures truncation, or the client, which reports what was heard."""


@dataclass(frozen=True, slots=True)
class LegConnected:
    """The media connection is up: audio can be sent and received."""


@dataclass(frozen=True, slots=True)
class LegOpened:
    """The event channel is open: events can be sent and received."""


@dataclass(frozen=True, slots=True)
class LegMessage:
    """A message of the client on the event channel: text, or bytes, which are no valid event."""

    content: str | EncodedText | bytes


@dataclass(frozen=True, slots=True)
class LegMeasured:
    """The transport measured its round-trip time."""

    round_trip_ms: int


@dataclass(frozen=True, slots=True)
class LegLost:
    """Nothing was received from the client for `lost_s`; it may recover."""


@dataclass(frozen=True, slots=True)
class LegRecovered:
    """A lost client sends again. ``how``: packets resumed, from another address, or after an ICE restart."""

    how: Literal["packets", "address", "restart"]
    away_s: float


@dataclass(frozen=True, slots=True)
class LegClosed:
    """The leg is closed; no further input follows."""

    reason: EndReason


LegInput = PcmFrame | LegConnected | LegOpened | LegMessage | LegMeasured | LegLost | LegRecovered | LegClosed


class BadOfferError(Exception):
    """The offer is invalid; the same offer must not be retried."""


class LegOwner(Protocol):
    """The call that a leg belongs to. A leg calls its methods on the event loop's thread; none of them blocks."""

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        """Handle an input of the client; in order, none after `LegClosed`. ``now``: monotonic seconds."""

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        """Return the next 20 ms for the caller, s16le mono 24 kHz, or None: nothing to play until `Leg.play`.

        Up to ``frames`` times 20 ms if that much is buffered: the leg then pulls again when they have been played.
        """


class DiscardingOwner:
    """The owner of a leg that is closed, or that its call does not serve: discards inputs and plays nothing."""

    def on_leg_input(self, item: LegInput, *, now: float) -> None:
        """Discard the input."""

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:  # noqa: ARG002 - as its interface
        """Return None: nothing is played."""
        return None


class Leg(Protocol):
    """One connection to a call."""

    @property
    def id(self) -> LegId:
        """The leg's id, unique among all calls."""

    @property
    def pace(self) -> PacedBy:
        """Who paces playout."""

    @property
    def receive_delay_ms(self) -> int:
        """Age of a frame when the leg delivers it: the delay of its jitter buffer."""

    @property
    def receives_audio(self) -> bool:
        """Whether the client accepts audio; if not, `play` does nothing."""

    def attach(self, owner: LegOwner) -> None:
        """Deliver all inputs to ``owner`` from now on; those received before are delivered at once."""

    def play(self) -> None:
        """Start playout: `pull` every 20 ms until it returns None. Cheap and idempotent."""

    def send_event(self, text: str) -> None:
        """Send an event, JSON text; a leg whose client does not read fast enough closes."""

    def hold_events(self, waiting_bytes: int) -> None:
        """Take less from the client: ``waiting_bytes`` of its events wait in the call. 0: take as much as ever."""

    async def restart(self, offer: LegOffer) -> LegAnswer:
        """Answer a new offer of the same client, whose network path has changed (ICE restart).

        Raises:
            BadOfferError: the offer is invalid.
        """

    async def close(self) -> None:
        """Flush sent events for a short time, then hang up. Idempotent."""


class Answerer(Protocol):
    """Makes legs of the offers of one transport."""

    async def __call__(self, leg: LegId, offer: LegOffer) -> tuple[Leg, LegAnswer]:
        """Return the leg, which waits for its client, and the answer by which the client connects.

        Raises:
            BadOfferError: the offer is invalid.
        """
