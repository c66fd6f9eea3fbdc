"""The outgoing track: 20 ms of 48 kHz mono at a time, silence unless a clip is playing."""

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
_MAX_LATE_S = 0.1  # after a stall it skips ahead: a microphone does not burst


@dataclass(frozen=True, slots=True)
class SpeechTimes:
    """Monotonic seconds at which a clip's speech began and ended at the microphone.

    As with a microphone: the frame sent at T holds what was spoken in the 20 ms before T.
    """

    started_s: float
    ended_s: float


@dataclass(slots=True)
class _QueuedClip:
    clip: Clip
    started: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    at: int = 0

    def read(self, count: int) -> Samples:
        """The next samples, at most ``count``."""
        piece = self.clip.samples[self.at : self.at + count]
        self.at += len(piece)
        return piece

    def mark(self, position: int, spoken_s: float, leaves_s: float) -> None:
        """Record that samples from ``position`` on are sent at ``leaves_s``; the first was spoken at ``spoken_s``."""
        for moment, sample in ((self.started, self.clip.onset), (self.ended, self.clip.end)):
            if not moment.done() and sample <= self.at:
                moment.set_result(min(leaves_s, spoken_s + (sample - position) / WIRE_HZ))

    @property
    def over(self) -> bool:
        return self.at >= len(self.clip.samples)


class AudioSource(MediaStreamTrack):
    """A track that sends silence, or the clips given to `play`."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._due_s = 0.0
        self._sent_frames = 0
        self._queue: deque[_QueuedClip] = deque()

    async def play(self, clip: Clip) -> SpeechTimes:
        """Play ``clip`` from the next frame on, after any clip that is still playing.

        Returns when the last true speech sample was sent; the rest of the clip is still sent.

        Raises:
            MediaStreamError: the track was stopped before the end.
        """
        utterance = _QueuedClip(resampled(clip, hz=WIRE_HZ))
        if self.readyState != "live":
            raise MediaStreamError
        self._queue.append(utterance)
        return SpeechTimes(await utterance.started, await utterance.ended)

    async def recv(self) -> AudioFrame:
        """Return the next frame when it is due."""
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
        """End the track; a pending `play` raises."""
        super().stop()
        while self._queue:
            utterance = self._queue.popleft()
            for moment in (utterance.started, utterance.ended):
                if not moment.done():
                    moment.set_exception(MediaStreamError())
                    moment.exception()  # mark as retrieved: nobody may be waiting

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
            piece = utterance.read(_FRAME_SAMPLES - filled)
            utterance.mark(position, now - _FRAME_S + filled / WIRE_HZ, now)
            samples[filled : filled + len(piece)] = piece
            filled += len(piece)
            if utterance.over:
                self._queue.popleft()
        return samples
