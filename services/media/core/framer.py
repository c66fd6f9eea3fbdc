"""Makes an unbroken run of 20 ms frames from what a leg decoded."""

from services.contracts.audio import FRAME_MS, UP_FRAME_BYTES, UP_FRAME_SAMPLES, UP_HZ, PcmFrame

MAX_FILL_FRAMES = 50
"""Gaps of up to a second (loss, DTX) are filled with silence; after longer ones the wall clock says how long."""
MAX_AHEAD_FRAMES = 100
"""A peer that sends faster than time passes is cut short when it is two seconds ahead: it would be billed."""

_SILENCE = bytes(UP_FRAME_BYTES)


class Framer:
    """Numbers one caller's frames from 0, so that ``index * 20`` is the audio time in ms."""

    def __init__(self) -> None:
        self._left = b""  # less than a frame
        self._index = 0
        self._next_timestamp = 0
        self._started_at: float | None = None
        self.dropped_frames = 0
        self.filled_frames = 0

    def push(self, pcm: bytes, *, timestamp: int, now: float) -> list[PcmFrame]:
        """Take decoded audio, s16le mono 16 kHz, whose first sample lies at ``timestamp`` (samples at 16 kHz)."""
        if self._started_at is None:
            self._started_at = now
            self._next_timestamp = timestamp
        fill = self._align((timestamp - self._next_timestamp) // UP_FRAME_SAMPLES, now)
        self._next_timestamp = timestamp + len(pcm) // 2
        frames = [self._frame(_SILENCE) for _ in range(fill)]
        self._left += pcm
        while len(self._left) >= UP_FRAME_BYTES:
            frames.append(self._frame(self._left[:UP_FRAME_BYTES]))
            self._left = self._left[UP_FRAME_BYTES:]
        return self._police(frames, now - self._started_at)

    def _align(self, missing: int, now: float) -> int:
        """How many frames of silence go in front of a packet that lies ``missing`` frames behind the expected."""
        if missing <= 0:
            return 0
        if missing <= MAX_FILL_FRAMES:
            self.filled_frames += missing
            return missing
        # A timestamp that leaps proves nothing: the peer writes it. Our clock does not lie.
        elapsed = int((now - (self._started_at or now)) * 1000) // FRAME_MS
        self._index = max(self._index, elapsed)
        self._left = b""
        return 0

    def _frame(self, pcm: bytes) -> PcmFrame:
        frame = PcmFrame(self._index, pcm)
        self._index += 1
        return frame

    def _police(self, frames: list[PcmFrame], elapsed_s: float) -> list[PcmFrame]:
        limit = int(elapsed_s * UP_HZ) // UP_FRAME_SAMPLES + MAX_AHEAD_FRAMES
        kept = [frame for frame in frames if frame.index < limit]
        self.dropped_frames += len(frames) - len(kept)
        self._index -= len(frames) - len(kept)
        return kept
