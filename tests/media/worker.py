"""A simulated worker on a real bus."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import DOWN_FRAME_SAMPLES
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.ids import CallId, Epoch, ItemId, ProcessId, SessionId, WorkerId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Claim, ClaimGranted, ClaimRefusal, ClaimRefused
from services.runtime.bus.client import Bus

PROCESS, WORKER, EPOCH = ProcessId("media-0"), WorkerId("up-0"), Epoch(42)
ITEM = ItemId("item_a")
GRANTED = ClaimGranted(
    worker=WORKER, epoch=EPOCH, session=SessionId("sess_a"), provider="rehearsal", model="gpt-realtime"
)


@dataclass
class StubWorker:
    """The upstream side of a call: grants claims, receives and sends frames."""

    bus: Bus
    refuse: list[ClaimRefusal] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    got: asyncio.Queue[tuple[CallId, Frame]] = field(default_factory=asyncio.Queue)
    sequence: int = 0

    async def open(self) -> None:
        await self.bus.serve(subjects.CLAIMS, self._claim, queue=subjects.UPSTREAM_QUEUE)
        await self.bus.subscribe(subjects.up_of(WORKER), self._frame)

    async def _claim(self, message: AnyMessage) -> Message:
        assert isinstance(message, Claim)
        self.claims.append(message)
        self.asked.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.refuse:
            return ClaimRefused(reason=self.refuse.pop(0))
        return GRANTED

    def _frame(self, subject: str, data: bytes) -> None:
        self.got.put_nowait((subjects.call_of(subject), frames.decode(data)))

    async def next(self, *wanted: Kind) -> Frame:
        while True:
            frame = (await self.got.get())[1]
            if frame.kind in wanted:
                return frame

    async def send(self, call: CallId, kind: Kind, position: int = 0, **fields: Any) -> None:  # noqa: ANN401 - the frame's
        fields.setdefault("epoch", EPOCH)
        frame = Frame(kind, position=position, sent_unix_ms=0, **fields)
        await self.bus.publish_bytes(subjects.down(PROCESS, WORKER, call), frames.encode(frame))

    async def event(self, call: CallId, event: dict[str, Any], **fields: Any) -> None:  # noqa: ANN401 - the frame's
        self.sequence += 1
        payload = encode_server_event(self.sequence, json.dumps(event).encode())
        await self.send(call, Kind.SERVER_EVENT, payload=payload, **fields)

    async def say(self, call: CallId, item: ItemId, pcm: bytes, *, end: bool = True) -> None:
        for start in range(0, len(pcm), frames.MAX_AUDIO_DOWN_BYTES):
            chunk = pcm[start : start + frames.MAX_AUDIO_DOWN_BYTES]
            flags = Flag.ITEM_END if end and start + len(chunk) == len(pcm) else NO_FLAGS
            await self.send(call, Kind.AUDIO_DOWN, start // 2, item_id=item, flags=flags, payload=chunk)

    async def answer(self, call: CallId, frames_of_sound: int, *, end: bool = True) -> None:
        added = {"type": "response.output_item.added", "response_id": "resp_a", "item": {"id": ITEM}}
        await self.event(call, added)
        await self.say(call, ITEM, np.full(frames_of_sound * DOWN_FRAME_SAMPLES, 1000, "<i2").tobytes(), end=end)
