"""Makes WebRTC legs: each offer gets a leg that waits for its client, and an SDP answer."""

from services.contracts.connect import LegOffer, WebRtcAnswer
from services.contracts.ids import LegId
from services.media.legs.webrtc.leg import WebRtcLeg
from services.media.legs.webrtc.offer import read_offer
from services.media.legs.webrtc.stack import Stack


class WebRtcAnswerer:
    """The `Answerer` of the WebRTC transport."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    async def __call__(self, leg: LegId, offer: LegOffer) -> tuple[WebRtcLeg, WebRtcAnswer]:
        """Return a leg that waits for its client, and the SDP answer.

        Raises:
            BadOfferError: the offer is invalid.
        """
        made = WebRtcLeg(leg, read_offer(offer), self._stack)
        return made, made.answer()
