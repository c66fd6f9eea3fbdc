"""SRTP without allocation per packet: libsrtp's functions work in one buffer that all calls share."""

from collections.abc import Callable
from typing import Any

from pylibsrtp import Error as SrtpError

LONGEST_BYTES = 1500
"""As pylibsrtp's own buffer: the payload of an Ethernet frame."""


class Buffer:
    """The shared packet buffer. Use it on the event loop's thread only."""

    def __init__(self, ffi: Any) -> None:  # noqa: ANN401 - cffi has no types
        self.data = ffi.new("char[]", LONGEST_BYTES)
        self.view = ffi.buffer(self.data)
        self.size = ffi.new("int *")


class InPlace:
    """One direction of a session.

    ``function`` is `srtp_protect` or `srtp_unprotect`. ``session``: the context, its first argument, and the object
    that must be kept alive with it. ``grows``: the most bytes that it adds to a packet.
    """

    def __init__(
        self, buffer: Buffer, function: Callable[..., int], session: tuple[object, object], *, grows: int
    ) -> None:
        self._buffer = buffer
        self._function = function
        self._context, self._alive = session
        self._longest = LONGEST_BYTES - grows

    def process(self, packet: bytes) -> bytes:
        """Protect or unprotect ``packet``.

        Raises:
            pylibsrtp.Error: it is too long, or fails authentication.
        """
        size = len(packet)
        if size > self._longest:
            raise SrtpError("the packet is too long")
        buffer = self._buffer
        buffer.view[:size] = packet
        buffer.size[0] = size
        if code := self._function(self._context, buffer.data, buffer.size):
            raise SrtpError(f"libsrtp error {code}")
        processed: bytes = buffer.view[: buffer.size[0]]
        return processed
