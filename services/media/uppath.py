"""One call's frames to its worker, in order: audio may be lost, everything else waits while the bus is away."""

from collections import deque

from services.contracts import frame as frames
from services.contracts.frame import Frame, Kind
from services.contracts.ids import Epoch
from services.media.core.commands import SendUp
from services.runtime import clock, metrics
from services.runtime.bus import Bus

MAX_WAITING = 256
"""Ends of utterances and reports of five seconds are far fewer; a call ends when the bus is away for longer."""


class UpPath:
    """Made with its call. What waits keeps its place: a worker without the end of an utterance would wait for ever."""

    def __init__(self, bus: Bus, *, subject: str, epoch: Epoch) -> None:
        self._bus = bus
        self._subject = subject
        self._epoch = epoch
        self._waiting: deque[bytes] = deque()

    def send(self, command: SendUp) -> None:
        """Publish ``command``, or keep it until `tick` finds the bus again."""
        epoch, sent = self._epoch, clock.unix_ms()
        if command.kind is Kind.AUDIO_UP:
            if self._waiting:
                metrics.BUS_DROPPED.labels("disconnected").inc()  # it would overtake, and come too late to be speech
                return
            data = frames.encode_audio_up(epoch, command.position, sent, command.flags, command.payload)
            self._bus.post_audio(self._subject, data)
            return
        frame = Frame(command.kind, epoch, command.position, sent, command.item_id, command.flags, command.payload)
        data = frames.encode(frame)
        if command.kind is Kind.ALIVE:
            self._bus.post(self._subject, data)  # a sign of life that comes late is none
            return
        self._waiting.append(data)
        self.tick()
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            metrics.BUS_DROPPED.labels("backlog").inc()

    def tick(self) -> None:
        """Time passes: publish what waits, if the bus takes it now."""
        while self._waiting and self._bus.connected and self._bus.post(self._subject, self._waiting[0]):
            self._waiting.popleft()
