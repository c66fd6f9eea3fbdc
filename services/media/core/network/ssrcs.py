"""Synchronisation sources (SSRC) of one peer: libsrtp never frees the state of one, and searches them linearly."""

from collections import deque

MAX_SOURCES = 8
"""A client has one for audio; another after a restart of its microphone."""


class KnownSsrcs:
    """The SSRCs with state in libsrtp, in the order of their last packet."""

    def __init__(self) -> None:
        self._known: deque[bytes] = deque()
        self._last = b""

    def packet_verified(self, ssrc: bytes) -> bytes | None:
        """Record a verified packet of ``ssrc``; return the SSRC whose state must be freed, if any."""
        if ssrc == self._last:
            return None
        self._last = ssrc
        if ssrc in self._known:
            self._known.remove(ssrc)
            self._known.append(ssrc)
            return None
        self._known.append(ssrc)
        return self._known.popleft() if len(self._known) > MAX_SOURCES else None
