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
