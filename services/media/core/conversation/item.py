"""The buffered audio of one item."""

from collections import deque

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, SAMPLE_BYTES
from services.contracts.ids import ItemId


class BufferedItem:
    """Chunks in the order of their positions, read frame by frame. Chunks are sliced, never copied."""

    __slots__ = (
        "_chunks",
        "_head",
        "_taken",
        "complete",
        "expected",
        "given",
        "id",
        "needed",
        "played",
        "pushed_at",
        "stored",
    )

    def __init__(self, item_id: ItemId) -> None:
        self.id = item_id
        self._head = b""  # the chunk that is being read
        self._taken = 0  # bytes of it that were read
        self._chunks: deque[tuple[int, bytes]] = deque()  # the others: position of the first sample, audio
        self.expected = 0  # position of the next sample to come
        self.pushed_at = 0.0
        self.needed = DOWN_FRAME_SAMPLES  # samples that must be buffered to play
        self.complete = False  # its end was received
        self.stored = 0  # samples received
        self.given = 0  # samples read
        self.played = 0  # position after the last of them

    @property
    def started(self) -> bool:
        """Whether some of it was read."""
        return self.given > 0

    @property
    def buffered(self) -> int:
        """The number of samples buffered."""
        return self.stored - self.given

    @property
    def ready(self) -> bool:
        """Whether enough is buffered to play a frame."""
        buffered = self.stored - self.given
        return buffered > 0 and (buffered >= self.needed or self.complete)

    @property
    def over(self) -> bool:
        """Whether all of it was read and no more will be received."""
        return self.complete and self.stored == self.given

    def store(self, position: int, pcm: bytes) -> None:
        """Append audio whose first sample is at ``position``, which is `expected` or later (a hole)."""
        self._chunks.append((position, pcm))
        self.stored += len(pcm) // SAMPLE_BYTES

    def slice(self, frames: int = 1) -> bytes | None:
        """Read the next frames, at most ``frames``, from within one chunk: gapless with what is before and after.

        None: not even one frame is, which is rare.
        """
        taken = self._taken
        stop = taken + frames * DOWN_FRAME_BYTES
        if not taken or stop >= len(self._head):
            return self.slice(frames - 1) if taken and frames > 1 else None
        self._taken = stop
        samples = frames * DOWN_FRAME_SAMPLES
        self.given += samples
        self.played += samples
        return self._head[taken:stop]

    def next_frame(self) -> tuple[int, bytes]:
        """Read up to a frame of audio without a hole, across chunks: position of its first sample, audio."""
        if self._taken == len(self._head):
            self.played = self._next_chunk()
        start = self.played
        parts: list[bytes] = []
        room = DOWN_FRAME_BYTES
        while room:
            parts.append(self._head[self._taken : self._taken + room])
            self._taken += len(parts[-1])
            room -= len(parts[-1])
            self.played += len(parts[-1]) // SAMPLE_BYTES
            if self._taken == len(self._head):
                if not self._chunks or self._chunks[0][0] != self.played:
                    break
                self._next_chunk()
        self.given += self.played - start
        return start, b"".join(parts)

    def _next_chunk(self) -> int:
        position, self._head = self._chunks.popleft()
        self._taken = 0
        return position
