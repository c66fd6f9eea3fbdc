"""Offers as signaling passes them on; what is not of that form is the offer's fault."""

from services.media.core import sdp
from services.media.core.sdp import InvalidOfferError, Offer
from services.media.leg import BadOfferError


def read_offer(text: str) -> Offer:
    """Read an offer.

    Raises:
        BadOfferError: it is not of the form that signaling writes.
    """
    try:
        return sdp.parse(text)
    except InvalidOfferError as exc:
        raise BadOfferError(str(exc)) from exc


def check_restart(offer: Offer, *, first: Offer) -> None:
    """Make sure that ``offer`` restarts ICE of the call that ``first`` began, and nothing else.

    Raises:
        BadOfferError: it is another peer connection, or would change what the call has.
    """
    if offer.transport.fingerprint != first.transport.fingerprint:
        raise BadOfferError("another certificate: an ICE restart keeps it, a new peer connection needs a new call")
    if offer.sections != first.sections:
        raise BadOfferError("an ICE restart cannot change the sections of the call, nor their directions and profiles")
