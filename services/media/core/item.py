"""The audio of one item on its way out."""

from collections import deque

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, SAMPLE_BYTES
from services.contracts.ids import ItemId


class Item:
    """Chunks in the order of their positions, taken frame by frame. A chunk is never copied, only sliced."""

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
        self._head = b""  # the chunk that is being taken
        self._taken = 0  # bytes of it
        self._chunks: deque[tuple[int, bytes]] = deque()  # the others: position of the first sample, audio
        self.expected = 0  # position of the next sample to come
        self.pushed_at = 0.0
        self.needed = DOWN_FRAME_SAMPLES  # samples that must be in hand to play
        self.complete = False  # no more will come
        self.stored = 0  # samples that came
        self.given = 0  # samples that were taken
        self.played = 0  # position after the last of them

    @property
    def started(self) -> bool:
        """Some of it was taken."""
        return self.given > 0

    @property
    def buffered(self) -> int:
        """Samples in hand."""
        return self.stored - self.given

    @property
    def ready(self) -> bool:
        """There is something to play, and enough of it."""
        buffered = self.stored - self.given
        return buffered > 0 and (buffered >= self.needed or self.complete)

    @property
    def over(self) -> bool:
        """Nothing is left, and nothing will come."""
        return self.complete and self.stored == self.given

    def store(self, position: int, pcm: bytes) -> None:
        """Keep audio whose first sample lies at ``position``, at or behind what is expected."""
        self._chunks.append((position, pcm))
        self.stored += len(pcm) // SAMPLE_BYTES

    def slice(self, frames: int = 1) -> bytes | None:
        """The next frames, at most so many, that lie in the middle of a chunk: they follow, and more follows.

        None: not even one does, which is rare.
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

    def take(self) -> tuple[int, bytes]:
        """Up to a frame of audio without a hole in it, from wherever it lies: first position, samples."""
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
