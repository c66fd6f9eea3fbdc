"""Offers as signaling hands them to media."""

from services.signaling.core.sdp import parse


def sanitise(offer: bytes) -> str:
    return parse(offer).serialise()
