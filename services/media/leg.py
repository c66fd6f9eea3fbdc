"""What a call knows of a leg. WebRTC is one kind; each other kind is a new file that fulfils this."""

from collections.abc import AsyncIterator
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
class LegClosed:
    """The client is gone; nothing follows."""

    reason: EndReason


LegInput = PcmFrame | LegConnected | LegOpened | LegMessage | LegMeasured | LegClosed


class BadOfferError(Exception):
    """The offer cannot be answered, and the offer is to blame."""


class PlayoutSource(Protocol):
    """What a leg plays; a gateway-paced leg pulls a frame every 20 ms."""

    async def playable(self) -> None:
        """Wait until there is something to play."""

    def pull(self) -> bytes | None:
        """The next 20 ms, s16le mono 24 kHz, or None: nothing to play."""


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

    def received(self) -> AsyncIterator[LegInput]:
        """All that comes from the client, in order; ends after `LegClosed` or `close`."""

    def play(self, source: PlayoutSource) -> None:
        """Play from ``source`` from now on."""

    def send_event(self, text: str) -> None:
        """Send an event; a leg that cannot keep up is closed."""

    async def close(self) -> None:
        """Give what was sent a moment to leave, then hang up. Safe to call twice."""


class Answerer(Protocol):
    """Makes a leg of an offer."""

    async def __call__(self, leg: LegId, sdp: str) -> tuple[Leg, str]:
        """The leg, which waits for its client, and the SDP answer.

        Raises:
            BadOfferError: the offer is to blame.
        """
