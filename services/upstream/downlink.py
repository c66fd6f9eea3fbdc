"""One call's frames to media: nothing before media was heard, in order, within its credit, never silent for long."""

import json

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.ids import CallId, Epoch, ItemId, ProcessId, WorkerId
from services.contracts.liveness import ALIVE_S
from services.runtime import clock
from services.runtime.bus import Bus
from services.runtime.delivery import Delivery
from services.upstream.core.commands import ClearPlayout, PublishAudio, PublishEvent
from services.upstream.core.credit import Credit

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""What a bus that is away, or a media process that is not heard, may hold up."""


class Downlink:
    """Publishes to the media process that carries the call."""

    def __init__(self, bus: Bus, *, call: CallId, process: ProcessId, worker: WorkerId, epoch: Epoch) -> None:
        self._epoch = epoch
        self._credit = Credit()
        # Media learns its worker's epoch from the claim's answer, so nothing is said before media was heard.
        subject = subjects.down(process, worker, call)
        self._delivery = Delivery(bus, subject, epoch=epoch, max_bytes=MAX_WAITING_BYTES, speaks_first=False)
        self._sent_at = clock.monotonic()

    def heard(self, frame: Frame, *, now: float) -> None:
        """Media has sent a frame, so it listens."""
        self._delivery.heard(returned=Flag.RETURNED in frame.flags, now=now)

    def event(self, command: PublishEvent) -> None:
        """A server event."""
        body = json.dumps(command.event, separators=(",", ":")).encode()
        payload = encode_server_event(command.sequence, body)
        self._send(Kind.SERVER_EVENT, command.position, command.item_id, command.flags, payload)

    def audio(self, command: PublishAudio) -> None:
        """Audio, now or when the credit allows."""
        self._sounds(self._credit.push(command))

    def clear(self, command: ClearPlayout) -> None:
        """Stop an item; what waits of it goes nowhere."""
        self._send(Kind.CLEAR, 0, command.item_id)
        self.over(command.item_id)

    def over(self, item_id: ItemId) -> None:
        """Nothing of the item will be played any more."""
        self._sounds(self._credit.drop(item_id))

    def played(self, item_id: ItemId, samples: int) -> None:
        """Media reports how far it is."""
        self._sounds(self._credit.played(item_id, samples))

    def ended(self, payload: bytes) -> None:
        """The call is over for us. Said even to a media process that was never heard: it may be about to listen."""
        if self._delivery.held:
            self._delivery.begin(now=clock.monotonic())
        self._send(Kind.ENDED, 0, None, NO_FLAGS, payload)

    def tick(self, *, now: float) -> None:
        """Say that we are there, and try again what the bus did not take."""
        self._delivery.tick(now=now)
        if now - self._sent_at >= ALIVE_S and not self._delivery.held:
            self._sent_at = now
            self._delivery.say_alive()

    def _sounds(self, released: list[PublishAudio]) -> None:
        for audio in released:
            flags = Flag.ITEM_END if audio.end else NO_FLAGS
            self._send(Kind.AUDIO_DOWN, audio.position, audio.item_id, flags, audio.pcm)

    def _send(
        self, kind: Kind, position: int, item_id: ItemId | None, flags: Flag = NO_FLAGS, payload: bytes = b""
    ) -> None:
        now = clock.monotonic()
        data = frames.encode(Frame(kind, self._epoch, position, clock.unix_ms(), item_id, flags, payload))
        self._delivery.send(data, now=now)
        self._sent_at = now
