"""One call's frames to media: nothing before media was heard, in order, within its credit, never silent for long."""

import json
from collections import deque

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.ids import CallId, Epoch, ItemId, ProcessId
from services.runtime import clock
from services.runtime.bus import Bus
from services.upstream.core.commands import ClearPlayout, PublishAudio, PublishEvent
from services.upstream.core.credit import Credit

ALIVE_S = 1.0
MAX_WAITING_BYTES = 8 * 1024 * 1024
"""What a bus that is away may hold up; media gives up on us after 5 s anyway."""


class DownlinkOverflowError(Exception):
    """Down is lossless, and there is no room left: the call cannot go on."""


class Downlink:
    """Publishes to the media process that carries the call."""

    def __init__(self, bus: Bus, *, call: CallId, process: ProcessId, epoch: Epoch) -> None:
        self._bus = bus
        self._subject = subjects.down(process, call)
        self._epoch = epoch
        self._credit = Credit()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._sent_at = clock.monotonic()
        self.is_heard = False

    async def heard(self) -> None:
        """Media has sent a frame, so it listens."""
        if not self.is_heard:
            self.is_heard = True
            await self._drain()

    async def event(self, command: PublishEvent) -> None:
        """A server event."""
        body = json.dumps(command.event, separators=(",", ":")).encode()
        payload = encode_server_event(command.sequence, body)
        await self._send(Kind.SERVER_EVENT, command.position, command.item_id, command.flags, payload)

    async def audio(self, command: PublishAudio) -> None:
        """Audio, now or when the credit allows."""
        await self._sounds(self._credit.push(command))

    async def clear(self, command: ClearPlayout) -> None:
        """Stop an item; what waits of it goes nowhere."""
        await self._send(Kind.CLEAR, 0, command.item_id)
        await self.over(command.item_id)

    async def over(self, item_id: ItemId) -> None:
        """Nothing of the item will be played any more."""
        await self._sounds(self._credit.drop(item_id))

    async def played(self, item_id: ItemId, samples: int) -> None:
        """Media reports how far it is."""
        await self._sounds(self._credit.played(item_id, samples))

    async def ended(self, payload: bytes) -> None:
        """The call is over for us. Said even to a media process that was never heard: it may be about to listen."""
        self.is_heard = True
        await self._send(Kind.ENDED, 0, None, NO_FLAGS, payload)

    async def tick(self, *, now: float) -> None:
        """Say that we are there, and try again what the bus did not take."""
        if not self.is_heard:
            return
        if self._waiting:
            await self._drain()
        elif now - self._sent_at >= ALIVE_S:
            await self._send(Kind.ALIVE, 0, None)

    async def _sounds(self, released: list[PublishAudio]) -> None:
        for audio in released:
            flags = Flag.ITEM_END if audio.end else NO_FLAGS
            await self._send(Kind.AUDIO_DOWN, audio.position, audio.item_id, flags, audio.pcm)

    async def _send(
        self, kind: Kind, position: int, item_id: ItemId | None, flags: Flag = NO_FLAGS, payload: bytes = b""
    ) -> None:
        data = frames.encode(Frame(kind, self._epoch, position, clock.unix_ms(), item_id, flags, payload))
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise DownlinkOverflowError
        await self._drain()

    async def _drain(self) -> None:
        while self.is_heard and self._waiting and await self._bus.send(self._subject, self._waiting[0]):
            self._waiting_bytes -= len(self._waiting.popleft())
            self._sent_at = clock.monotonic()
