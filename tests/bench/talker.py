"""A simulated worker for the media bench: accepts every call, talks continuously or answers each utterance.

It stands for upstream and provider on the bus, so that what a bench loads is the media process and nothing else. What
it says is speech, in chunks as providers send them, with the events that go with an answer.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.callers.speech import resample, synthesise
from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import DOWN_HZ, SAMPLE_BYTES
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.ids import (
    CallId,
    Epoch,
    ItemId,
    ProcessId,
    WorkerId,
    new_item_id,
    new_response_id,
    new_session_id,
)
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Claim, ClaimGranted, PlayoutReport, UtteranceEnd, expect
from services.runtime import clock
from services.runtime.bus.client import Bus

TEXT = "the quick brown fox jumps over the lazy dog and then runs along the river to find a place to sleep"
WORKER = WorkerId("talker-0")
EPOCH = Epoch(1)
CHUNK_SAMPLES = DOWN_HZ * 3 // 10
AHEAD_S = 1.0
"""How far ahead of real time audio is sent: a provider's burst, within the credit."""
STEP_S = 0.1


@dataclass(slots=True)
class TalkerCall:
    """One call's answers."""

    process: ProcessId
    sequence: int = 0
    item: ItemId | None = None
    response: str = ""
    said: int = 0  # samples of the item
    length: int = 0
    began_at: float = 0.0
    spoken_at: float = 0.0
    cuts: int = 0
    todo: list[Frame] = field(default_factory=list)

    def event(self, item: ItemId | None, position: int, event: Mapping[str, object]) -> None:
        """Queue an event to be shown at ``position``."""
        self.sequence += 1
        payload = encode_server_event(self.sequence, json.dumps(event).encode())
        self._put(Kind.SERVER_EVENT, position, item, payload)

    def begin(self, samples: int, *, now: float) -> None:
        """Start an answer of ``samples`` samples."""
        self.item, self.response = new_item_id(), new_response_id()
        self.said, self.length, self.began_at = 0, samples, now
        added = {"type": "response.output_item.added", "response_id": self.response, "item": {"id": self.item}}
        self.event(None, 0, added)

    def step(self, voice: bytes, *, now: float) -> None:
        """Send what is due."""
        due = min(self.length, int((now - self.began_at + AHEAD_S) * DOWN_HZ))
        while self.item is not None and self.said < due:
            count = min(CHUNK_SAMPLES, self.length - self.said)
            at = self.said * SAMPLE_BYTES % len(voice)
            pcm = (voice[at:] + voice)[: count * SAMPLE_BYTES]
            last = self.said + count >= self.length
            self._put(Kind.AUDIO_DOWN, self.said, self.item, pcm, Flag.ITEM_END if last else NO_FLAGS)
            self.said += count
            delta = {"type": "response.output_audio_transcript.delta", "item_id": self.item, "delta": "word "}
            self.event(self.item, self.said, delta)
            if last:
                done = {"type": "response.done", "response": {"id": self.response, "status": "completed"}}
                self.event(self.item, self.said, done)
                self.item = None

    def _put(self, kind: Kind, position: int, item: ItemId | None, payload: bytes, flags: Flag = NO_FLAGS) -> None:
        self.todo.append(Frame(kind, EPOCH, position, clock.unix_ms(), item, flags, payload))


class Talker:
    """All calls of the bench. ``answer_s``: length of an answer; 0: talk continuously."""

    def __init__(self, bus: Bus, voice: bytes, *, answer_s: float) -> None:
        self._bus = bus
        self._voice = voice
        self._answer_samples = int(answer_s * DOWN_HZ)
        self._calls: dict[CallId, TalkerCall] = {}
        self._dice = random.Random(1)  # noqa: S311 - spreads calls in time, protects nothing
        self.frames = 0

    async def open(self) -> None:
        """Subscribe."""
        await self._bus.serve(subjects.CLAIMS, self._claim, queue=subjects.UPSTREAM_QUEUE)
        await self._bus.subscribe(subjects.up_of(WORKER), self._heard)
        await self._bus.flush()

    async def run(self) -> None:
        """Talk continuously, a tenth of the calls at a time."""
        turn = 0
        while True:
            now = clock.monotonic()
            for number, (call, conversation) in enumerate(list(self._calls.items())):
                if number % 10 == turn % 10:
                    await self._step(call, conversation, now)
            turn += 1
            await asyncio.sleep(STEP_S / 10)

    async def _step(self, call: CallId, conversation: TalkerCall, now: float) -> None:
        if not self._answer_samples and conversation.item is None:
            conversation.begin(24 * 3600 * DOWN_HZ // 2, now=now - self._dice.random() * STEP_S)
        conversation.step(self._voice, now=now)
        if not conversation.todo and now - conversation.spoken_at >= 1:
            conversation.todo.append(Frame(Kind.ALIVE, EPOCH, 0, clock.unix_ms()))
        for frame in conversation.todo:
            conversation.spoken_at = now
            await self._bus.publish_bytes(subjects.down(conversation.process, WORKER, call), frames.encode(frame))
        conversation.todo.clear()

    async def _claim(self, message: AnyMessage) -> Message:
        if not isinstance(message, Claim):
            raise TypeError(message.type)
        conversation = TalkerCall(message.process)
        conversation.event(None, 0, {"type": "session.created", "session": {"type": "realtime"}})
        self._calls[message.call] = conversation
        return ClaimGranted(
            worker=WORKER, epoch=EPOCH, session=new_session_id(), provider="rehearsal", model="rehearsal"
        )

    def _heard(self, subject: str, data: bytes) -> None:
        call = subjects.call_of(subject)
        conversation = self._calls.get(call)
        if conversation is None:
            return
        self.frames += 1
        kind = data[1]  # the rest of most frames is of no interest here
        if kind == Kind.ENDED:
            del self._calls[call]
        elif kind == Kind.UTTERANCE_END and self._answer_samples:
            if expect(UtteranceEnd, frames.decode(data).payload).reason in {"speech_end", "no_packets"}:
                conversation.begin(self._answer_samples, now=clock.monotonic())
        elif kind == Kind.PLAYOUT_REPORT:
            report = frames.decode(data)
            if expect(PlayoutReport, report.payload).cut and report.item_id == conversation.item:
                conversation.item = None
                conversation.cuts += 1


async def _main(options: argparse.Namespace) -> None:
    spoken = await synthesise(TEXT)
    voice = resample(spoken.samples, from_hz=spoken.hz, to_hz=DOWN_HZ).astype("<i2").tobytes()
    async with Bus.connect(options.nats, name="talker") as bus:
        talker = Talker(bus, voice, answer_s=options.answer_s)
        await talker.open()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        talking = asyncio.create_task(talker.run(), name="talk")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, talking.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await talking


def main(arguments: Sequence[str]) -> None:
    """Talk until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--answer-s", type=float, default=0.0, help="seconds of an answer; 0: talk all the time")
    asyncio.run(_main(parser.parse_args(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
