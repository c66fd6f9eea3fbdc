"""Synchronisation sources (SSRC) of one peer: libsrtp keeps a state for each for ever, and looks for it one by one."""

from collections import deque

MAX_SOURCES = 8
"""A client has one of sound; another after a restart of its microphone."""


class Sources:
    """The SSRCs that are known, the one heard last at the end."""

    def __init__(self) -> None:
        self._known: deque[bytes] = deque()
        self._last = b""

    def heard(self, ssrc: bytes) -> bytes | None:
        """A packet of ``ssrc`` was verified; returns the one that is to be forgotten for it, if any."""
        if ssrc == self._last:
            return None
        self._last = ssrc
        if ssrc in self._known:
            self._known.remove(ssrc)
            self._known.append(ssrc)
            return None
        self._known.append(ssrc)
        return self._known.popleft() if len(self._known) > MAX_SOURCES else None
