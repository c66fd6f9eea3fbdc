"""The door of WebRTC legs: an offer comes in, a leg that waits for its client and an answer go out."""

from services.contracts.ids import LegId
from services.media.leg import Leg
from services.media.rtc.offer import read_offer
from services.media.rtc.peer import WebRtcLeg
from services.media.rtc.stack import Stack


class WebRtcAnswerer:
    """The `Answerer` of WebRTC."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def __call__(self, leg: LegId, offer: str) -> tuple[Leg, str]:
        """A leg that waits for its client, and the SDP answer.

        Raises:
            BadOfferError: the offer is to blame.
        """
        made = WebRtcLeg(leg, read_offer(offer), self._stack)
        return made, made.answer()
