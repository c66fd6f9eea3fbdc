"""The playout buffer: answers arrive in bursts and leave as frames of 20 ms, item after item."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

import numpy as np

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, DOWN_HZ, SAMPLE_BYTES, samples_to_ms
from services.contracts.ids import ItemId

MAX_BUFFERED_SAMPLES = 30 * DOWN_HZ
"""The worker keeps what is more than 10 s ahead (credit); a worker that doesn't loses what is beyond this."""
MAX_REMEMBERED_ITEMS = 512
RAMP_SAMPLES = DOWN_HZ * 5 // 1000
"""5 ms: long enough not to click, too short to be heard as a fade."""
SILENT_SAMPLES = DOWN_HZ * 13 // 2000
"""6.5 ms, libopus' longest look-ahead: so much of the end of a sound is still in the encoder and must be pushed out by
silence, or the fade is cut off and comes when the next sound begins."""
RESUME_SAMPLES = DOWN_HZ * 3 // 10
"""300 ms: an answer that ran dry goes on with so much in stock. One longer pause is better than a stutter."""

_FADE_OUT = np.linspace(1, 0, RAMP_SAMPLES, endpoint=False, dtype=np.float32)
_FADE_IN = np.linspace(0, 1, RAMP_SAMPLES, endpoint=False, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Pulled:
    """One frame for the caller. ``item_id`` is None when it only fades out what sounded before."""

    pcm: bytes
    item_id: ItemId | None = None
    start: int = 0  # samples of the item before this frame
    end: int = 0
    first: bool = False  # the item's first frame
    last: bool = False  # the item is over with it


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was stopped: ``played`` samples left the socket, the rest never will."""

    item_id: ItemId
    played: int
    started: bool


@dataclass(slots=True)
class _Item:
    id: ItemId
    chunks: deque[tuple[int, bytes]] = field(default_factory=deque)  # position of the first sample, audio
    buffered: int = 0  # samples
    expected: int = 0  # position of the next sample to come
    played: int = 0
    started: bool = False
    complete: bool = False

    def take(self) -> tuple[int, int, bytes]:
        """Up to a frame of audio that has no hole in it: first position, position after it, samples."""
        start = end = self.chunks[0][0]
        parts: list[bytes] = []
        room = DOWN_FRAME_BYTES
        while room and self.chunks and self.chunks[0][0] == end:
            position, pcm = self.chunks.popleft()
            parts.append(pcm[:room])
            if len(pcm) > room:
                self.chunks.appendleft((position + room // SAMPLE_BYTES, pcm[room:]))
            end = position + len(parts[-1]) // SAMPLE_BYTES
            room -= len(parts[-1])
        self.buffered -= end - start
        return start, end, b"".join(parts)


class Playout:
    """One leg's answers on their way out. Positions are samples within an item, as the provider counts them."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._over: OrderedDict[ItemId, int] = OrderedDict()  # items played to the end or cut, and how far
        self._last_sample = 0
        self._broken = True  # the last frame was not full of sound: what comes next is faded in
        self._silent = SILENT_SAMPLES  # samples of silence since the last sound, as far as they matter
        self._dry = False  # the item that sounded ran out of audio, and is not over
        self.underruns = 0
        self.overruns = 0
        self.played_samples = 0

    @property
    def active(self) -> bool:
        """An answer sounds, or is about to."""
        return bool(self._items)

    @property
    def played_ms(self) -> int:
        """Answer audio that left the socket, all items together."""
        return samples_to_ms(self.played_samples)

    @property
    def pullable(self) -> bool:
        """`pull` would give a frame."""
        return not self._faded or self._has_sound()

    @property
    def current(self) -> ItemId | None:
        """The item that sounds or comes next."""
        return self._items[0].id if self._items else None

    def is_over(self, item_id: ItemId) -> bool:
        """The item was played to its end or cut."""
        return item_id in self._over

    def played(self, item_id: ItemId) -> int:
        """How many samples of the item have left the socket."""
        found = self._find(item_id)
        return found.played if found else self._over.get(item_id, 0)

    def push(self, item_id: ItemId, position: int, pcm: bytes, *, end: bool) -> list[ItemId]:
        """Queue audio; returns the items that are over by it, because their end came after their last sound."""
        if item_id in self._over:
            return []
        item = self._find(item_id)
        if item is None:
            item = _Item(item_id)
            self._items.append(item)
        known = max(0, item.expected - position) * SAMPLE_BYTES  # the same audio twice is played once
        fresh = pcm[known : len(pcm) - len(pcm) % SAMPLE_BYTES]
        if fresh:
            self._store(item, max(position, item.expected), fresh)
        item.complete = item.complete or end
        return self._finish()

    def pull(self) -> Pulled | None:
        """The next frame, or None: nothing to play. Never waits for what may come."""
        if not self._has_sound():
            return self._fade_out()
        item = self._items[0]
        start, end, pcm = item.take()
        first, item.started, item.played = not item.started, True, end
        self.played_samples += end - start
        frame = self._shape(np.frombuffer(pcm, "<i2"))
        last = item.complete and not item.buffered
        self._dry = False
        if last:
            self._retire(self._items.popleft())
        elif len(pcm) < DOWN_FRAME_BYTES:
            self._ran_dry(item)
        return Pulled(frame, item.id, start, end, first=first, last=last)

    def cut(self, item_id: ItemId | None = None) -> list[Cut]:
        """Stop now and forget: all items, or only ``item_id``, whose later audio is ignored even if none came yet."""
        if item_id is None:
            chosen = list(self._items)
        elif item_id in self._over:
            return []
        else:
            chosen = [self._find(item_id) or _Item(item_id)]
        for item in chosen:
            if item in self._items:
                self._items.remove(item)
            self._retire(item)
        return [Cut(item.id, item.played, item.started) for item in chosen]

    def _find(self, item_id: ItemId) -> _Item | None:
        return next((item for item in self._items if item.id == item_id), None)

    def _store(self, item: _Item, position: int, pcm: bytes) -> None:
        samples = len(pcm) // SAMPLE_BYTES
        item.expected = position + samples
        if sum(other.buffered for other in self._items) + samples > MAX_BUFFERED_SAMPLES:
            self.overruns += 1
            return
        item.chunks.append((position, pcm))
        item.buffered += samples

    def _finish(self) -> list[ItemId]:
        done: list[ItemId] = []
        while self._items and self._items[0].complete and not self._items[0].buffered:
            item = self._items.popleft()
            self._retire(item)
            done.append(item.id)
        return done

    def _retire(self, item: _Item) -> None:
        self._over[item.id] = item.played
        while len(self._over) > MAX_REMEMBERED_ITEMS:
            self._over.popitem(last=False)

    @property
    def _faded(self) -> bool:
        """The last sound has wholly left the encoder."""
        return self._silent >= SILENT_SAMPLES

    def _has_sound(self) -> bool:
        """Mid-sound even a sample is played, and faded from; out of silence nothing begins that ends at once."""
        if not self._items or not self._items[0].buffered:
            return False
        item = self._items[0]
        wanted = RESUME_SAMPLES if self._dry else DOWN_FRAME_SAMPLES if self._faded else 1
        return item.complete or item.buffered >= wanted

    def _ran_dry(self, item: _Item) -> None:
        if item.started and not item.buffered and not self._dry:
            self._dry = True
            self.underruns += 1

    def _fade_out(self) -> Pulled | None:
        if self._faded:
            return None
        if self._items:
            self._ran_dry(self._items[0])
        return Pulled(self._shape(np.zeros(0, "<i2")))

    def _shape(self, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> bytes:
        """A whole frame: faded in after a break, and down from the last sample where the audio ends early."""
        frame = np.zeros(DOWN_FRAME_SAMPLES + RAMP_SAMPLES, np.float32)
        count, before = len(samples), float(self._last_sample)
        frame[:count] = samples
        if self._broken and count:
            ramp = min(RAMP_SAMPLES, count)
            frame[:ramp] = frame[:ramp] * _FADE_IN[:ramp] + before * _FADE_OUT[:ramp]
        last = float(frame[count - 1]) if count else before
        self._broken = count < DOWN_FRAME_SAMPLES
        self._silent = max(0, DOWN_FRAME_SAMPLES - count - (RAMP_SAMPLES if last else 0))
        if self._broken:
            frame[count : count + RAMP_SAMPLES] = last * _FADE_OUT
        shaped = frame[:DOWN_FRAME_SAMPLES].astype("<i2")
        self._last_sample = int(shaped[-1])
        return shaped.tobytes()
