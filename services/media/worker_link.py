"""One call's frames to its worker, in order: audio may be lost, everything else is sent again after a bus outage."""

from services.contracts import frame as frames
from services.contracts.frame import Flag, Frame, Kind
from services.contracts.ids import Epoch
from services.media.core.commands import SendUp
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.reliable_sender import ReliableSender
from services.runtime.telemetry import metrics

MAX_BYTES = 1024 * 1024
"""Eight client events of the largest size; utterance ends and playout reports of half a minute are 20 KB."""


class WorkerLink:
    """Publishes the frames of one call to its worker: audio at most once, everything else reliably."""

    def __init__(self, bus: Bus, *, subject: str, epoch: Epoch) -> None:
        self._bus = bus
        self._subject = subject
        self._epoch = epoch
        self._delivery = ReliableSender(bus, subject, epoch=epoch, max_bytes=MAX_BYTES, may_send_first=True)

    def publish_command(self, command: SendUp) -> None:
        """Publish ``command``, or keep it until the worker can be reached again; late audio is dropped.

        Raises:
            SendQueueFullError: the buffer of kept frames is full.
        """
        epoch, sent = self._epoch, clock.unix_ms()
        if command.kind is Kind.AUDIO_UP:
            if self._delivery.awaits_peer:
                metrics.BUS_DROPPED.labels("disconnected").inc()
                return
            data = frames.encode_audio_up(epoch, command.position, sent, command.flags, command.payload)
            self._bus.post_audio(self._subject, data)
            return
        frame = Frame(command.kind, epoch, command.position, sent, command.item_id, command.flags, command.payload)
        data = frames.encode(frame)
        if command.kind is not Kind.ALIVE:
            self._delivery.publish_frame(data, now=clock.monotonic())
        elif not self._delivery.awaits_peer:  # else `on_timer` sends what is held instead
            self._bus.post(self._subject, data)

    def frame_received(self, frame: Frame, *, now: float) -> None:
        """Record that ``frame`` of the worker was received at ``now``; send again what it may have missed."""
        self._delivery.frame_received(returned=Flag.RETURNED in frame.flags, now=now)

    def on_timer(self, *, now: float) -> None:
        """Send again what is due as of ``now``; call it several times a second."""
        self._delivery.on_timer(now=now)
