"""A UDP socket that passes on audio at once, with the kernel's arrival time: a busy loop delays no measurement."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from services.runtime import clock

RtpHandler = Callable[[bytes, float], None]
"""Receives a whole SRTP packet and its arrival in monotonic seconds."""

_BUFFER_BYTES = 256 * 1024
_MAX_DATAGRAM = 2048
_SO_TIMESTAMPNS = 35  # Linux, asm-generic/socket.h; Python has no name for it
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_RTP_FIRST, _RTP_LAST = 128, 191  # of the first byte; RFC 7983
_RTCP_FIRST, _RTCP_LAST = 192, 223  # of the second; RFC 5761
_RENEW_EVERY = 50
"""Packets between two readings of the wall clock, which may be adjusted meanwhile."""


class DatagramSocket(asyncio.DatagramTransport):
    """Bound to a free port of ``address``; everything but RTP is passed to ``protocol``."""

    def __init__(self, address: str, protocol: asyncio.DatagramProtocol, on_rtp: RtpHandler) -> None:
        """Bind a free port.

        Raises:
            OSError: the address cannot be bound.
        """
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._hear = on_rtp
        self._closing = False
        self._until_renewal = 0
        self._offset_s = 0.0
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)  # noqa: FBT003 - positional only
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.bind((address, 0))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def sendto(self, data: Any, addr: Any = None) -> None:  # noqa: ANN401 - asyncio's signature
        """Send, or drop when the socket is not writable, as UDP does."""
        try:
            self._socket.sendto(data, addr)
        except BlockingIOError:
            return
        except OSError as exc:
            self._protocol.error_received(exc)

    def send_audio(self, data: bytes, addr: tuple[str, int]) -> bool:
        """Send now; returns whether the socket accepted it."""
        try:
            self._socket.sendto(data, addr)
        except OSError:
            return False
        return True

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's signature
        """`sockname` and `socket`."""
        if name == "sockname":
            return self._socket.getsockname()
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._closing

    def close(self) -> None:
        """Close now; `connection_lost` is called in the next loop iteration."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close."""
        self.close()

    def _readable(self) -> None:
        try:
            data, ancillary, _, address = self._socket.recvmsg(_MAX_DATAGRAM, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:  # an ICMP error for a sent packet
            self._protocol.error_received(exc)
            return
        if len(data) > 1 and _RTP_FIRST <= data[0] <= _RTP_LAST and not _RTCP_FIRST <= data[1] <= _RTCP_LAST:
            self._hear(data, self._arrival(ancillary))
        elif data:
            self._protocol.datagram_received(data, address)

    def _arrival(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        if not ancillary:
            return clock.monotonic()
        self._until_renewal -= 1
        if self._until_renewal < 0:
            self._until_renewal = _RENEW_EVERY
            self._offset_s = clock.unix_minus_monotonic()
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
        return float(seconds - self._offset_s + nanoseconds * 1e-9)
