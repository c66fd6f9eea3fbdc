"""One call's frames to its worker, in order: audio may be lost, everything else arrives when the bus is back."""

from services.contracts import frame as frames
from services.contracts.frame import Flag, Frame, Kind
from services.contracts.ids import Epoch
from services.media.core.commands import SendUp
from services.runtime import clock, metrics
from services.runtime.bus import Bus
from services.runtime.delivery import Delivery

MAX_BYTES = 1024 * 1024
"""Eight of the largest events of a client; ends of utterances and reports of half a minute are 20 KB."""


class UpPath:
    """Made with its call. A worker without the end of an utterance would wait for ever."""

    def __init__(self, bus: Bus, *, subject: str, epoch: Epoch) -> None:
        self._bus = bus
        self._subject = subject
        self._epoch = epoch
        self._delivery = Delivery(bus, subject, epoch=epoch, max_bytes=MAX_BYTES, speaks_first=True)

    def send(self, command: SendUp) -> None:
        """Publish ``command``, or keep it until the worker hears us again; late audio is no use and dropped.

        Raises:
            DeliveryFullError: too much is kept.
        """
        epoch, sent = self._epoch, clock.unix_ms()
        if command.kind is Kind.AUDIO_UP:
            if self._delivery.held:
                metrics.BUS_DROPPED.labels("disconnected").inc()
                return
            data = frames.encode_audio_up(epoch, command.position, sent, command.flags, command.payload)
            self._bus.post_audio(self._subject, data)
            return
        frame = Frame(command.kind, epoch, command.position, sent, command.item_id, command.flags, command.payload)
        data = frames.encode(frame)
        if command.kind is not Kind.ALIVE:
            self._delivery.send(data, now=clock.monotonic())
        elif not self._delivery.held:  # else `tick` says more than that
            self._bus.post(self._subject, data)

    def heard(self, frame: Frame, *, now: float) -> None:
        """The worker said something."""
        self._delivery.heard(returned=Flag.RETURNED in frame.flags, now=now)

    def tick(self, *, now: float) -> None:
        """Time passes."""
        self._delivery.tick(now=now)
