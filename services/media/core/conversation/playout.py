"""The playout buffer: answers arrive in bursts and are sent as frames of 20 ms, item after item.

An answer plays as soon as its first frame is received: the turn's latency matters more than a gap. If the provider
then falls behind (real time with jitter, or a stall), playout rebuffers: after an under-run it resumes with
`CUSHION_SAMPLES` buffered, so that one gap of 80 ms replaces a stutter at every late chunk. Less than a frame waits for
the rest of it, so that no frame is cut short; audio that has waited for `MAX_WAIT_S` is played as it is.

A frame that does not continue the one before (after silence, a cut, a hole, another item) is faded in over 5 ms while
the previous audio fades out.

An answer that is held fades out and waits; released, it goes on with the next sample (ADR 33).
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, DOWN_HZ, SAMPLE_BYTES, samples_to_ms
from services.contracts.ids import ItemId
from services.media.core.conversation.item import BufferedItem

MAX_BUFFERED_SAMPLES = 30 * DOWN_HZ
"""The worker keeps what is more than 10 s ahead (credit); audio beyond this limit is dropped."""
MAX_REMEMBERED_ITEMS = 512
RAMP_SAMPLES = DOWN_HZ * 5 // 1000
"""5 ms: long enough not to click, too short to be heard as a fade."""
SILENT_SAMPLES = DOWN_HZ * 13 // 2000
"""6.5 ms, libopus' longest look-ahead: the encoder still holds so much of the last audio, which must be flushed by
silence, or its fade is cut off and sent when the next audio begins."""
CUSHION_SAMPLES = DOWN_HZ * 3 // 10
"""300 ms: an answer resumes after an under-run with so much buffered. One longer pause is better than a stutter."""
MAX_WAIT_S = 0.5
"""After so long without more audio, what is buffered is played although it is less than required."""

_SILENCE = bytes(SILENT_SAMPLES * SAMPLE_BYTES)
_FADE_OUT = np.linspace(1, 0, RAMP_SAMPLES, endpoint=False, dtype=np.float32)
_FADE_IN = np.linspace(0, 1, RAMP_SAMPLES, endpoint=False, dtype=np.float32)


@dataclass(slots=True, init=False)
class Pulled:
    """One frame for the caller, or several. ``item_id`` is None if it only fades out the audio before."""

    pcm: Final[bytes]
    item_id: Final[ItemId | None]
    start: Final[int]  # samples of the item before this frame
    end: Final[int]
    first: Final[bool]  # the item's first frame
    last: Final[bool]  # the item's last frame

    def __init__(  # written out: made for every frame (ADR 9)
        self,
        pcm: bytes,
        item_id: ItemId | None = None,
        start: int = 0,
        end: int = 0,
        *,
        first: bool = False,
        last: bool = False,
    ) -> None:
        self.pcm = pcm
        self.item_id = item_id
        self.start = start
        self.end = end
        self.first = first
        self.last = last


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was stopped after ``played`` samples were sent; the rest is discarded."""

    item_id: ItemId
    played: int
    started: bool


class Playout:
    """One leg's playout buffer. Positions are samples within an item, as the provider counts them."""

    def __init__(self) -> None:
        self._items: deque[BufferedItem] = deque()
        self._over: OrderedDict[ItemId, int] = OrderedDict()  # items played to the end or cut, and how far
        self._passed: OrderedDict[ItemId, int] = OrderedDict()  # unfinished items of which no audio is sent
        self._last = _SILENCE  # the end of the last frame
        self._sounding: BufferedItem | None = None  # its item, if the next audio continues it without a gap
        self._paused = False
        self.is_held = False
        self.underruns = 0
        self.overruns = 0
        self._done_samples = 0  # of finished items

    @property
    def active(self) -> bool:
        """Whether an answer is playing or buffered."""
        return bool(self._items)

    @property
    def played_ms(self) -> int:
        """Answer audio sent so far, all items together, in ms."""
        return samples_to_ms(self._done_samples + sum(item.given for item in self._items))

    @property
    def pullable(self) -> bool:
        """Whether `pull` would return a frame."""
        ready = not self.is_held and bool(self._items) and self._items[0].ready
        return not self._paused and (self._sounds or ready)

    @property
    def current(self) -> ItemId | None:
        """The item that is playing or next."""
        return self._items[0].id if self._items else None

    def is_over(self, item_id: ItemId) -> bool:
        """Return whether the item was played to its end or cut."""
        return item_id in self._over

    def played(self, item_id: ItemId) -> int:
        """Return how many samples of the item were sent."""
        found = self._find(item_id)
        return found.played if found else self._over.get(item_id, self._passed.get(item_id, 0))

    def queue_audio(self, item_id: ItemId, position: int, pcm: bytes, *, end: bool, now: float = 0.0) -> list[ItemId]:
        """Buffer audio; return the items that are finished by it, whose end came after their last audio was sent."""
        if item_id in self._over:
            return []
        item = self._find(item_id)
        if item is None:
            item = BufferedItem(item_id)
            self._items.append(item)
        known = max(0, item.expected - position) * SAMPLE_BYTES  # duplicate audio is played once
        fresh = pcm[known : len(pcm) - len(pcm) % SAMPLE_BYTES]
        if fresh:
            self._store(item, max(position, item.expected), fresh)
            item.pushed_at = now
            item.needed = item.needed or DOWN_FRAME_SAMPLES
        item.complete = item.complete or end
        return self._finish()

    def pass_over(self, item_id: ItemId, end_position: int, *, end: bool) -> list[ItemId]:
        """Discard audio, as if its position were reached and nothing of it played. Returns as `queue_audio`."""
        if item_id in self._over:
            return []
        self._passed[item_id] = max(end_position, self._passed.get(item_id, 0))
        if not end:
            if len(self._passed) > MAX_REMEMBERED_ITEMS:
                self._passed.popitem(last=False)
            return []
        self._retire(self._passing(item_id))
        return [item_id]

    def on_timer(self, *, now: float) -> None:
        """Allow playout of audio that has waited for `MAX_WAIT_S` for more, as of ``now``."""
        item = self._items[0] if self._items else None
        if item is not None and item is not self._sounding and now - item.pushed_at >= MAX_WAIT_S:
            item.needed = 0  # until more is received

    def pull(self, frames: int = 1) -> Pulled | None:
        """Return the next frame, or up to ``frames`` if buffered without a gap; None: nothing to play for now."""
        if self._paused:
            return None
        if self.is_held:
            return Pulled(self._shape(b"", follows=False)) if self._sounds else None
        item = self._sounding
        if item is not None and (pcm := item.slice(frames)) is not None:
            self._last = pcm
            return Pulled(pcm, item.id, item.played - len(pcm) // SAMPLE_BYTES, item.played)
        item = self._items[0] if self._items else None
        if item is None or not (item.ready or (item is self._sounding and item.buffered)):
            return self._run_dry(item)
        pulled = self._read_frame(item)  # amid playout even a single sample is played, and faded from
        if frames > 1 and item is self._sounding and (more := item.slice(frames - 1)) is not None:
            self._last = more
            return Pulled(pulled.pcm + more, item.id, pulled.start, item.played, first=pulled.first)
        return pulled

    def pause(self) -> None:
        """Stop playout and keep what is buffered: the client is lost."""
        self._paused = True
        self._last = _SILENCE  # a client that recovers has heard silence
        self._sounding = None

    def resume(self) -> None:
        """Continue playout: the client has recovered."""
        self._paused = False

    def hold(self) -> None:
        """Fade out and keep what is buffered until `release`: the caller may be speaking."""
        self.is_held = True
        self._sounding = None

    def release(self) -> None:
        """Continue with the sample after the last one that was played."""
        self.is_held = False

    def cut(self, item_id: ItemId | None = None) -> list[Cut]:
        """Discard all items, or only ``item_id``, and ignore their later audio, even if none was received yet."""
        if item_id is None:
            chosen = list(self._items)
        elif item_id in self._over:
            return []
        else:
            chosen = [self._find(item_id) or self._passing(item_id)]
        for item in chosen:
            if item in self._items:
                self._items.remove(item)
            if item is self._sounding:
                self._sounding = None
            self._retire(item)
        return [Cut(item.id, item.played, item.started) for item in chosen]

    def _find(self, item_id: ItemId) -> BufferedItem | None:
        for item in self._items:
            if item.id == item_id:
                return item
        return None

    def _passing(self, item_id: ItemId) -> BufferedItem:
        """Return the state of an item whose audio is discarded."""
        item = BufferedItem(item_id)
        item.played = self._passed.pop(item_id, 0)
        return item

    def _store(self, item: BufferedItem, position: int, pcm: bytes) -> None:
        samples = len(pcm) // SAMPLE_BYTES
        item.expected = position + samples
        if sum(other.buffered for other in self._items) + samples > MAX_BUFFERED_SAMPLES:
            self.overruns += 1
        else:
            item.store(position, pcm)

    def _finish(self) -> list[ItemId]:
        done: list[ItemId] = []
        while self._items and self._items[0].over:
            item = self._items.popleft()
            self._retire(item)
            done.append(item.id)
        return done

    def _retire(self, item: BufferedItem) -> None:
        self._over[item.id] = item.played
        self._done_samples += item.given
        while len(self._over) > MAX_REMEMBERED_ITEMS:
            self._over.popitem(last=False)

    def _read_frame(self, item: BufferedItem) -> Pulled:
        first, was = not item.started, item.played
        start, pcm = item.next_frame()
        whole, follows = len(pcm) == DOWN_FRAME_BYTES, item is self._sounding and start == was
        if whole and follows:
            self._last = pcm
        else:
            pcm = self._shape(pcm, follows=follows)
        if not whole and not item.buffered:
            self.underruns += not item.complete  # also after `MAX_WAIT_S`
            item.needed = CUSHION_SAMPLES
        elif item.needed:
            item.needed = DOWN_FRAME_SAMPLES
        self._sounding = item if whole else None
        if item.over:
            self._retire(self._items.popleft())
        return Pulled(pcm, item.id, start, item.played, first=first, last=item.over)

    def _run_dry(self, item: BufferedItem | None) -> Pulled | None:
        """Fade out the last audio. In the middle of an item that is an under-run."""
        if item is not None and item is self._sounding:
            self.underruns += 1
            item.needed = CUSHION_SAMPLES
        self._sounding = None
        return Pulled(self._shape(b"", follows=False)) if self._sounds else None

    @property
    def _sounds(self) -> bool:
        """Whether the encoder still holds audio, or silence now would be a step."""
        return not self._last.endswith(_SILENCE)

    def _shape(self, pcm: bytes, *, follows: bool) -> bytes:
        """Return a whole frame without a step: joined to the last sample, and faded to silence if it ends early."""
        samples = np.frombuffer(pcm, "<i2")
        length = len(samples)
        frame = np.zeros(DOWN_FRAME_SAMPLES + RAMP_SAMPLES, np.float32)
        frame[:length] = samples
        if not follows:
            ramp = min(RAMP_SAMPLES, length)
            frame[:ramp] *= _FADE_IN[:ramp]
            frame[:RAMP_SAMPLES] += int.from_bytes(self._last[-SAMPLE_BYTES:], "little", signed=True) * _FADE_OUT
        if 0 < length < DOWN_FRAME_SAMPLES:
            frame[length : length + RAMP_SAMPLES] = frame[length - 1] * _FADE_OUT
        shaped = frame[:DOWN_FRAME_SAMPLES].astype("<i2").tobytes()
        self._last = shaped
        return shaped
