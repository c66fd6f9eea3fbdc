"""One call's frames to media: in order, after media's first frame, audio within its credit, with keepalives."""

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.ids import CallId, Epoch, ItemId, ProcessId, WorkerId
from services.contracts.json_bytes import json_bytes
from services.contracts.liveness import ALIVE_S
from services.contracts.messages import TurnDetection
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.reliable_sender import ReliableSender
from services.upstream.core.commands import ApplyTurnDetection, ClearPlayout, PublishAudio, PublishEvent
from services.upstream.core.credit import Credit

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Most that waits for the bus, or for the first frame of the media process."""


class MediaPublisher:
    """Publishes frames to the media process that carries the call. Call `on_timer` several times a second."""

    def __init__(self, bus: Bus, *, call: CallId, process: ProcessId, worker: WorkerId, epoch: Epoch) -> None:
        self._epoch = epoch
        self._credit = Credit()
        # Media learns its worker's epoch from the claim's answer, so frames wait for its first one.
        subject = subjects.down(process, worker, call)
        self._delivery = ReliableSender(bus, subject, epoch=epoch, max_bytes=MAX_WAITING_BYTES, may_send_first=False)
        self._sent_at = clock.monotonic()

    def on_media_frame(self, frame: Frame, *, now: float) -> None:
        """Record a frame from media: it is subscribed, so what waited is published."""
        self._delivery.frame_received(returned=Flag.RETURNED in frame.flags, now=now)

    def publish_event(self, command: PublishEvent) -> None:
        """Publish a server event."""
        body = json_bytes(command.event)
        payload = encode_server_event(command.sequence, body)
        self._send(Kind.SERVER_EVENT, command.position, command.item_id, command.flags, payload)

    def publish_audio(self, command: PublishAudio) -> None:
        """Publish audio, now or as soon as the credit allows."""
        self._publish_released(self._credit.queue_audio(command))

    def clear_playout(self, command: ClearPlayout) -> None:
        """Tell media to stop playing an item, and drop the audio of it that waits for credit."""
        self._send(Kind.CLEAR, 0, command.item_id)
        self.drop_item(command.item_id)

    def apply_turn_detection(self, command: ApplyTurnDetection) -> None:
        """Tell media the turn detection in force."""
        payload = TurnDetection(**command.detection.model_dump()).encode()
        self._send(Kind.TURN_DETECTION, command.number, None, payload=payload)

    def drop_item(self, item_id: ItemId) -> None:
        """Drop the audio of an item that waits for credit: its playout has ended."""
        self._publish_released(self._credit.drop_item(item_id))

    def on_played(self, item_id: ItemId, samples: int) -> None:
        """Record that media has played ``samples`` of the item, and publish what the credit now allows."""
        self._publish_released(self._credit.on_played(item_id, samples))

    def grant_credit(self, position: int) -> None:
        """Tell media that the client's events up to ``position`` were handled, so that it sends further ones."""
        self._send(Kind.CLIENT_CREDIT, position, None)

    def publish_end(self, payload: bytes) -> None:
        """Publish an `Ended` message, even if media has sent no frame yet: it may be about to subscribe."""
        if self._delivery.awaits_peer:
            self._delivery.peer_subscribed(now=clock.monotonic())
        self._send(Kind.ENDED, 0, None, NO_FLAGS, payload)

    def on_timer(self, *, now: float) -> None:
        """Publish again what the bus did not accept, and a keepalive frame if nothing was sent for `ALIVE_S`."""
        self._delivery.on_timer(now=now)
        if now - self._sent_at >= ALIVE_S and not self._delivery.awaits_peer:
            self._sent_at = now
            self._delivery.send_keepalive()

    def _publish_released(self, released: list[PublishAudio]) -> None:
        for audio in released:
            flags = Flag.ITEM_END if audio.end else NO_FLAGS
            self._send(Kind.AUDIO_DOWN, audio.position, audio.item_id, flags, audio.pcm)

    def _send(
        self, kind: Kind, position: int, item_id: ItemId | None, flags: Flag = NO_FLAGS, payload: bytes = b""
    ) -> None:
        now = clock.monotonic()
        data = frames.encode(Frame(kind, self._epoch, position, clock.unix_ms(), item_id, flags, payload))
        self._delivery.publish_frame(data, now=now)
        self._sent_at = now
