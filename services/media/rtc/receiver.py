"""What a WebRTC leg hears: aiortc's decoded frames as an unbroken run of 20 ms at 16 kHz."""

import numpy as np
from av import AudioFrame

from services.contracts.audio import FRAME_MS, PcmFrame
from services.media import metrics
from services.media.core.framer import Framer
from services.media.core.resample import FACTOR, Decimator

JITTER_BUFFER_MS = 80
"""aiortc hands a packet on when the fourth after it has come."""


class Receiver:
    """One leg's ear."""

    def __init__(self) -> None:
        self._decimator = Decimator()
        self._framer = Framer()

    def push(self, frame: AudioFrame, *, now: float) -> list[PcmFrame]:
        """Take a decoded frame, 48 kHz stereo; what is missing in front of it becomes silence."""
        metrics.PACKETS.labels("up").inc()
        filled, dropped = self._framer.filled_frames, self._framer.dropped_frames
        samples = np.frombuffer(bytes(frame.planes[0])[: frame.samples * len(frame.layout.channels) * 2], "<i2")
        pcm = self._decimator.convert(samples, channels=len(frame.layout.channels))
        frames = self._framer.push(pcm, timestamp=(frame.pts or 0) // FACTOR, now=now)
        metrics.CONCEALED_SECONDS.inc((self._framer.filled_frames - filled) * FRAME_MS / 1000)
        if (lost := self._framer.dropped_frames - dropped) > 0:
            metrics.INPUT_DROPPED.labels("audio_too_fast").inc(lost)
        return frames
