"""Makes a gapless sequence of 20 ms frames from a leg's decoded audio."""

from services.contracts.audio import FRAME_MS, SAMPLE_BYTES, UP_FRAME_BYTES, PcmFrame

MAX_AHEAD_FRAMES = 100
"""Two seconds: audio of a peer that is further ahead of real time is dropped, as it would be billed."""

_FRAMES_PER_S = 1000 // FRAME_MS


class Framer:
    """Numbers one caller's frames from 0, so that ``index * 20`` is the audio time in ms."""

    def __init__(self) -> None:
        self._left = b""  # less than a frame
        self._index = 0
        self._started_at: float | None = None

    def room(self, *, now: float) -> int:
        """Return how many frames may be appended as of ``now``; at most 0 if the peer is too far ahead of real time."""
        return self._elapsed(now) + MAX_AHEAD_FRAMES - self._index

    def append_audio(self, pcm: bytes) -> list[PcmFrame]:
        """Append decoded audio of any length, s16le mono 16 kHz; return complete frames. Check `room` first."""
        if len(pcm) == UP_FRAME_BYTES and not self._left:
            self._index += 1
            return [PcmFrame(self._index - 1, pcm)]
        self._left += pcm
        whole = len(self._left) // UP_FRAME_BYTES
        parts = [self._left[n * UP_FRAME_BYTES : (n + 1) * UP_FRAME_BYTES] for n in range(whole)]
        self._left = self._left[whole * UP_FRAME_BYTES :]
        return [self._number(part) for part in parts]

    def silence(self, samples: int) -> list[PcmFrame]:
        """Append ``samples`` of silence at 16 kHz; return complete frames. Check `room` first."""
        return self.append_audio(bytes(samples * SAMPLE_BYTES))

    def realign(self, *, now: float) -> None:
        """Advance the frame index to the wall clock; never back."""
        self._left = b""
        self._index = max(self._index, self._elapsed(now))

    def _elapsed(self, now: float) -> int:
        if self._started_at is None:
            self._started_at = now
        return int((now - self._started_at) * _FRAMES_PER_S)

    def _number(self, pcm: bytes) -> PcmFrame:
        self._index += 1
        return PcmFrame(self._index - 1, pcm)
