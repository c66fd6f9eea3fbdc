"""Reads offers in the form in which signaling passes them on; anything else is a `BadOfferError`."""

from services.contracts.connect import LegOffer, WebRtcOffer
from services.media.core import sdp
from services.media.core.sdp import ParsedOffer, UnreadableOfferError
from services.media.leg import BadOfferError


def read_offer(offer: LegOffer) -> ParsedOffer:
    """Parse the SDP of a WebRTC offer.

    Raises:
        BadOfferError: it is not in the form that signaling writes.
    """
    if not isinstance(offer, WebRtcOffer):
        raise BadOfferError("no offer of a peer connection")
    try:
        return sdp.parse(offer.sdp)
    except UnreadableOfferError as exc:
        raise BadOfferError(str(exc)) from exc


def check_restart(offer: ParsedOffer, *, first: ParsedOffer) -> None:
    """Check that ``offer`` restarts ICE of the leg that ``first`` created, and changes nothing else.

    Raises:
        BadOfferError: it is of another peer connection, or changes the media sections.
    """
    if offer.transport.fingerprint != first.transport.fingerprint:
        raise BadOfferError("another certificate: an ICE restart keeps it, a new peer connection needs a new call")
    if offer.sections != first.sections:
        raise BadOfferError("an ICE restart cannot change the sections of the call, nor their directions and profiles")
