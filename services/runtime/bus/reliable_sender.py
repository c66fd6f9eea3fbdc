"""Sends one call's frames to its peer in order, with none lost over a bus reconnect (ADR 12).

Core NATS drops what is in flight when a connection ends, and what is published while nobody subscribes. So recent
frames are kept. A side that was disconnected sets a flag in its keepalives, holds its frames until it receives from
the peer, and then resends the last seconds; a peer that receives the flag resends its own. Resent frames are flagged,
and the receiver drops duplicates.
"""

from collections import deque
from typing import Protocol

from services.contracts import frame as frames
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind
from services.contracts.ids import Epoch
from services.contracts.liveness import SILENT_S
from services.runtime import clock
from services.runtime.telemetry import metrics

KEPT_S = SILENT_S
"""A side that is disconnected for longer without detecting it is given up."""


class SendQueueFullError(Exception):
    """Too many bytes wait for the peer: the call cannot continue."""


class FrameBus(Protocol):
    """The part of the bus that a `ReliableSender` uses."""

    @property
    def connected(self) -> bool:
        """Whether the bus is connected."""

    @property
    def reconnects(self) -> int:
        """How often the bus was reestablished."""

    def post(self, subject: str, data: bytes) -> bool:
        """Queue ``data`` for publishing; False while disconnected."""


class ReliableSender:
    """Create one per call. ``max_bytes`` bounds the frames that wait and, separately, those kept for resending."""

    def __init__(self, bus: FrameBus, subject: str, *, epoch: Epoch, max_bytes: int, may_send_first: bool) -> None:
        """``may_send_first``: whether frames may be sent before the first one from the peer."""
        self._bus = bus
        self._subject = subject
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._reconnects = bus.reconnects
        self._awaits_peer = not may_send_first
        self._awaits_first_frame = not may_send_first
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._kept: deque[tuple[float, bytes]] = deque()
        self._kept_bytes = 0
        self._flowed_at = 0.0

    @property
    def awaits_peer(self) -> bool:
        """Nothing was received since our bus reconnected: frames that are worthless when late can be dropped."""
        if not self._awaits_peer and not (self._bus.connected and self._bus.reconnects == self._reconnects):
            self._awaits_peer = True
        return self._awaits_peer

    def publish_frame(self, data: bytes, *, now: float) -> None:
        """Publish a frame, or keep it until the peer can receive it.

        Raises:
            SendQueueFullError: ``max_bytes`` already wait.
        """
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._max_bytes:
            raise SendQueueFullError
        if not self.awaits_peer:
            self._drain(now)

    def frame_received(self, *, returned: bool, now: float) -> None:
        """Record a frame from the peer; ``returned``: the peer was disconnected and may have missed frames."""
        if self.awaits_peer:
            if self._bus.connected:
                self.peer_subscribed(now=now)
        elif returned:
            self.send_keepalive()
            self._resend()

    def peer_subscribed(self, *, now: float) -> None:
        """Resend what the subscribed peer may have missed, then send what waits."""
        self._reconnects = self._bus.reconnects
        self._awaits_peer = self._awaits_first_frame = False
        self.send_keepalive()  # the peer may hold its frames too, and nothing else may be sent
        self._resend()
        self._drain(now)

    def on_timer(self, *, now: float) -> None:
        """Send a keepalive with the reconnect flag, until the peer answers. Call it at regular intervals."""
        if not self.awaits_peer:
            self._flowed_at = now
            self._drain(now)
        elif self._bus.connected and not self._awaits_first_frame:
            self.send_keepalive(Flag.RETURNED)

    def send_keepalive(self, flags: Flag = NO_FLAGS) -> None:
        """Send a keepalive; it is never kept for resending."""
        self._bus.post(self._subject, frames.encode(Frame(Kind.ALIVE, self._epoch, 0, clock.unix_ms(), flags=flags)))

    def _drain(self, now: float) -> None:
        while self._waiting and self._bus.post(self._subject, self._waiting[0]):
            data = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._kept.append((now, data))
            self._kept_bytes += len(data)
        while self._kept and (self._kept[0][0] < now - KEPT_S or self._kept_bytes > self._max_bytes):
            self._kept_bytes -= len(self._kept.popleft()[1])

    def _resend(self) -> None:
        for at, data in self._kept:
            if at >= self._flowed_at - KEPT_S and self._bus.post(self._subject, frames.mark_resent(data)):
                metrics.BUS_RESENT.inc()
