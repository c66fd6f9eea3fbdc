"""One call's frames to the other side: in order, and none lost because the bus goes and comes (ADR 12).

Core NATS forgets what was on its way when a connection ends, and what is sent while nobody listens. So what was sent
of late is kept. Who was away says so in its signs of life, holds what it has to say until the other side is heard, and
then says the last seconds again; who hears that the other side was away says them again, too. What is said again is
flagged, and the receiver leaves what it knows.
"""

from collections import deque
from typing import Protocol

from services.contracts import frame as frames
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind
from services.contracts.ids import Epoch
from services.contracts.liveness import SILENT_S
from services.runtime import clock, metrics

KEPT_S = SILENT_S
"""Whoever is away for longer without knowing it is given up."""


class DeliveryFullError(Exception):
    """Too much waits for the other side: the call cannot go on."""


class Sends(Protocol):
    """What a delivery needs of the bus."""

    @property
    def connected(self) -> bool:
        """Whether frames flow now."""

    @property
    def returns(self) -> int:
        """How often the bus was away and came back."""

    def post(self, subject: str, data: bytes) -> bool:
        """Send soon; False: not now."""


class Delivery:
    """Made with its call. ``max_bytes`` bounds what waits and, apart from it, what is kept."""

    def __init__(self, bus: Sends, subject: str, *, epoch: Epoch, max_bytes: int, speaks_first: bool) -> None:
        """``speaks_first``: whether anything may be sent before the other side was heard."""
        self._bus = bus
        self._subject = subject
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._returns = bus.returns
        self._held = not speaks_first
        self._shy = not speaks_first
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._kept: deque[tuple[float, bytes]] = deque()
        self._kept_bytes = 0
        self._flowed_at = 0.0

    @property
    def held(self) -> bool:
        """The other side was not heard since our bus came back: what is lost when late need not be sent."""
        if not self._held and not (self._bus.connected and self._bus.returns == self._returns):
            self._held = True
        return self._held

    def send(self, data: bytes, *, now: float) -> None:
        """Publish a frame, or keep it until the other side can hear it.

        Raises:
            DeliveryFullError: too much waits already.
        """
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._max_bytes:
            raise DeliveryFullError
        if not self.held:
            self._drain(now)

    def heard(self, *, returned: bool, now: float) -> None:
        """A frame came from the other side; ``returned``: it was away and may have missed something."""
        if self.held:
            if self._bus.connected:
                self.begin(now=now)
        elif returned:
            self.say_alive()
            self._say_again()

    def begin(self, *, now: float) -> None:
        """The other side listens: say again what it may not have heard, and then what waits."""
        self._returns = self._bus.returns
        self._held = self._shy = False
        self.say_alive()  # the other side may hold, too, and there may be nothing else to say
        self._say_again()
        self._drain(now)

    def tick(self, *, now: float) -> None:
        """Time passes: say that we are back, until we are answered."""
        if not self.held:
            self._flowed_at = now
            self._drain(now)
        elif self._bus.connected and not self._shy:
            self.say_alive(Flag.RETURNED)

    def say_alive(self, flags: Flag = NO_FLAGS) -> None:
        """Send a sign of life; nothing is kept of it."""
        self._bus.post(self._subject, frames.encode(Frame(Kind.ALIVE, self._epoch, 0, clock.unix_ms(), flags=flags)))

    def _drain(self, now: float) -> None:
        while self._waiting and self._bus.post(self._subject, self._waiting[0]):
            data = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._kept.append((now, data))
            self._kept_bytes += len(data)
        while self._kept and (self._kept[0][0] < now - KEPT_S or self._kept_bytes > self._max_bytes):
            self._kept_bytes -= len(self._kept.popleft()[1])

    def _say_again(self) -> None:
        for at, data in self._kept:
            if at >= self._flowed_at - KEPT_S and self._bus.post(self._subject, frames.said_again(data)):
                metrics.BUS_RESENT.inc()
