"""The outgoing track: 20 ms of 48 kHz mono at a time, silence unless a clip is being said."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from services.callers.speech import Clip, Samples, resampled
from services.runtime import clock

WIRE_HZ = 48_000
_FRAME_S = 0.02
_FRAME_SAMPLES = int(WIRE_HZ * _FRAME_S)
_TIME_BASE = Fraction(1, WIRE_HZ)
_MAX_LATE_S = 0.1  # a loop that was stuck skips ahead: a microphone does not burst


@dataclass(frozen=True, slots=True)
class Spoken:
    """When a clip's speech began and ended at the mouth, in monotonic seconds.

    As with a microphone: the frame that leaves at T holds what was spoken in the 20 ms before T.
    """

    started_s: float
    ended_s: float


@dataclass(slots=True)
class _Utterance:
    clip: Clip
    started: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    at: int = 0

    def take(self, count: int) -> Samples:
        """The next samples, at most ``count``."""
        piece = self.clip.samples[self.at : self.at + count]
        self.at += len(piece)
        return piece

    def mark(self, position: int, spoken_s: float, leaves_s: float) -> None:
        """Samples from ``position`` up to `at` leave at ``leaves_s``; the first was spoken at ``spoken_s``."""
        for moment, sample in ((self.started, self.clip.onset), (self.ended, self.clip.end)):
            if not moment.done() and sample <= self.at:
                moment.set_result(min(leaves_s, spoken_s + (sample - position) / WIRE_HZ))

    @property
    def over(self) -> bool:
        return self.at >= len(self.clip.samples)


class Mouth(MediaStreamTrack):
    """A microphone that is always on."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._due_s = 0.0
        self._sent_frames = 0
        self._queue: deque[_Utterance] = deque()

    async def say(self, clip: Clip) -> Spoken:
        """Speak ``clip`` from the next frame on (behind a clip that is still being spoken).

        Returns when the last true speech sample has left; what follows it in the clip is still sent.

        Raises:
            MediaStreamError: the track was stopped before the end.
        """
        utterance = _Utterance(resampled(clip, hz=WIRE_HZ))
        if self.readyState != "live":
            raise MediaStreamError
        self._queue.append(utterance)
        return Spoken(await utterance.started, await utterance.ended)

    async def recv(self) -> AudioFrame:
        """The next frame, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._wait_until_due()
        frame = AudioFrame.from_ndarray(self._next_samples(clock.monotonic())[np.newaxis, :], layout="mono")
        frame.sample_rate = WIRE_HZ
        frame.pts = self._sent_frames * _FRAME_SAMPLES
        frame.time_base = _TIME_BASE
        self._sent_frames += 1
        return frame

    def stop(self) -> None:
        """End the track; who still speaks is told."""
        super().stop()
        while self._queue:
            utterance = self._queue.popleft()
            for moment in (utterance.started, utterance.ended):
                if not moment.done():
                    moment.set_exception(MediaStreamError())
                    moment.exception()  # seen: nobody has to be waiting

    async def _wait_until_due(self) -> None:
        now = clock.monotonic()
        self._due_s = max(self._due_s + _FRAME_S, now - _MAX_LATE_S) if self._due_s else now
        await asyncio.sleep(max(0.0, self._due_s - now))

    def _next_samples(self, now: float) -> Samples:
        samples = np.zeros(_FRAME_SAMPLES, dtype=np.int16)
        filled = 0
        while self._queue and filled < _FRAME_SAMPLES:
            utterance = self._queue[0]
            position = utterance.at
            piece = utterance.take(_FRAME_SAMPLES - filled)
            utterance.mark(position, now - _FRAME_S + filled / WIRE_HZ, now)
            samples[filled : filled + len(piece)] = piece
            filled += len(piece)
            if utterance.over:
                self._queue.popleft()
        return samples
