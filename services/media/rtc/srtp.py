"""SRTP without an object for each packet: libsrtp's functions work in one buffer that all calls share."""

from collections.abc import Callable
from typing import Any

from pylibsrtp import Error as SrtpError

LONGEST_BYTES = 1500
"""As pylibsrtp's own buffer: what fits into an Ethernet frame."""


class Buffer:
    """Where packets are worked on, one after another. For the event loop's thread alone."""

    def __init__(self, ffi: Any) -> None:  # noqa: ANN401 - cffi has no types
        self.data = ffi.new("char[]", LONGEST_BYTES)
        self.view = ffi.buffer(self.data)
        self.size = ffi.new("int *")


class InPlace:
    """One direction of a session.

    ``function`` is `srtp_protect` or `srtp_unprotect`. ``session`` is the context that it takes first, and what must
    live as long. ``grows``: the most bytes that it adds to a packet.
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
            pylibsrtp.Error: it is too long, or not the peer's.
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
