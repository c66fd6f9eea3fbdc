"""What a call knows of a leg. WebRTC is one kind; each other kind is a new file that fulfils this."""

from dataclasses import dataclass
from typing import Literal, Protocol

from services.contracts.audio import PcmFrame
from services.contracts.endings import EndReason
from services.contracts.ids import LegId

Pace = Literal["gateway", "client"]
"""Who paces playout: we own it and truncation, or the client plays by itself and reports what was heard."""


@dataclass(frozen=True, slots=True)
class LegConnected:
    """Audio can flow."""


@dataclass(frozen=True, slots=True)
class LegOpened:
    """Events can flow."""


@dataclass(frozen=True, slots=True)
class LegMessage:
    """The client said something: text as it should, bytes as it should not."""

    content: str | bytes


@dataclass(frozen=True, slots=True)
class LegMeasured:
    """The transport measured its round trip."""

    round_trip_ms: int


@dataclass(frozen=True, slots=True)
class LegLost:
    """Nothing has come from the client for a while; it may come back."""


@dataclass(frozen=True, slots=True)
class LegRecovered:
    """The client is heard again. ``how``: packets came again, from another address, or after an ICE restart."""

    how: Literal["packets", "address", "restart"]
    away_s: float


@dataclass(frozen=True, slots=True)
class LegClosed:
    """The client is gone; nothing follows."""

    reason: EndReason


LegInput = PcmFrame | LegConnected | LegOpened | LegMessage | LegMeasured | LegLost | LegRecovered | LegClosed


class BadOfferError(Exception):
    """The offer cannot be answered, and the offer is to blame."""


class LegOwner(Protocol):
    """The call that a leg belongs to. All of it is called on the event loop, at once, and never waits."""

    def take(self, item: LegInput, *, now: float) -> None:
        """Something came from the client; in order, nothing after `LegClosed`. ``now``: monotonic seconds."""

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:
        """The next 20 ms for the caller, s16le mono 24 kHz, or None: nothing to play until `Leg.play`.

        Up to ``frames`` times 20 ms where so much is in hand: the leg then pulls again when they are over.
        """


class Leg(Protocol):
    """One connection to a call."""

    @property
    def id(self) -> LegId:
        """Its name."""

    @property
    def pace(self) -> Pace:
        """Who paces its playout."""

    @property
    def receive_delay_ms(self) -> int:
        """How old frames are when the leg hands them up: its own jitter buffer."""

    @property
    def listens(self) -> bool:
        """Whether its client takes sound from us; if not, `play` does nothing."""

    def attach(self, owner: LegOwner) -> None:
        """Hand all that comes to ``owner`` from now on; what came before follows at once."""

    def play(self) -> None:
        """There is something to play: `pull` every 20 ms until it gives None. Cheap, and safe to repeat."""

    def send_event(self, text: str) -> None:
        """Send an event; a leg that cannot keep up is closed."""

    async def restart(self, sdp: str) -> str:
        """Answer a new offer of the same client, whose way to us has changed (ICE restart).

        Raises:
            BadOfferError: the offer is to blame.
        """

    async def close(self) -> None:
        """Give what was sent a moment to leave, then hang up. Safe to call twice."""


class Answerer(Protocol):
    """Makes a leg of an offer."""

    async def __call__(self, leg: LegId, offer: str) -> tuple[Leg, str]:
        """The leg, which waits for its client, and the SDP answer to ``offer``.

        Raises:
            BadOfferError: the offer is to blame.
        """
