"""The caller's side: utterances become items. The provider's voice detection is off, so their events are written here.

A commit under 100 ms would be refused by the provider, so such a splinter is cleared instead.
"""

from collections import OrderedDict, deque

from services.contracts.audio import FRAME_MS
from services.contracts.ids import ItemId, new_item_id
from services.upstream.core.author import AT_ONCE, NOWHERE, Author, Origin, Place
from services.upstream.core.config import SessionConfigState
from services.upstream.core.conversation import Conversation
from services.upstream.core.ids import IdMap
from services.upstream.core.shape import Json
from services.upstream.core.usage import Tally

MIN_COMMIT_MS = 100
_MAX_DURATIONS = 256
_MAX_UNCONFIRMED = 1024
_MAX_UNTRANSCRIBED = 16


class Speech:
    """The input audio buffer of the provider, as we fill it."""

    def __init__(
        self, author: Author, ids: IdMap, config: SessionConfigState, *, conversation: Conversation, tally: Tally
    ) -> None:
        self._author = author
        self._ids = ids
        self._config = config
        self._conversation = conversation
        self._tally = tally
        self._item: ItemId | None = None  # of the open utterance
        self._ms = 0.0  # in the buffer, neither committed nor cleared
        self._commits: deque[ItemId] = deque(maxlen=_MAX_UNCONFIRMED)  # not yet confirmed
        self._clears: deque[bool] = deque(maxlen=_MAX_UNCONFIRMED)  # not yet confirmed; whether the client asked
        self._durations: OrderedDict[str, float] = OrderedDict()
        self._untranscribed: deque[str] = deque(maxlen=_MAX_UNTRANSCRIBED)

    @property
    def is_open(self) -> bool:
        """An utterance is going on."""
        return self._item is not None

    @property
    def untranscribed(self) -> bool:
        """Of an utterance the provider has still to say what was said."""
        return bool(self._untranscribed)

    def started(self, index: int, *, shown: bool) -> None:
        """The gate opened; ``index``: the first frame that follows. ``shown``: turns are detected, not manual."""
        self._item = new_item_id()
        if shown:
            fields: Json = {"item_id": self._item, "audio_start_ms": index * FRAME_MS}
            self._author.publish("input_audio_buffer.speech_started", fields)

    def frames(self, pcm: bytes) -> None:
        """16 kHz from the microphone."""
        self._tally.sent_bytes += len(pcm) - self._author.append(pcm)
        self._ms += len(pcm) / 32

    def client_audio(self, pcm_24k: bytes, encoded: str) -> None:
        """The client's own `input_audio_buffer.append`; the wire knows no answer to it."""
        if self._author.send("input_audio_buffer.append", {"audio": encoded}):
            self._ms += len(pcm_24k) / 48
            self._tally.sent_24k_bytes += len(pcm_24k)

    def ended(self, index: int, *, shown: bool) -> bool:
        """The gate closed after frame ``index``; whether a turn was committed."""
        item, self._item = self._item, None
        if item is None or not shown:
            return False
        fields: Json = {"item_id": item, "audio_end_ms": index * FRAME_MS}
        self._author.publish("input_audio_buffer.speech_stopped", fields)
        if self._ms >= MIN_COMMIT_MS:
            return self._commit(item, Origin("input_audio_buffer.commit"), NOWHERE)
        if self._ms:
            self.clear()
        return False

    def abandon(self) -> None:
        """The utterance will never be complete."""
        self._item = None
        if self._ms:
            self.clear()

    def client_commit(self, client_event_id: str | None) -> bool:
        """The client takes its turn by itself; False: there is not enough audio for one."""
        if self._ms < MIN_COMMIT_MS:
            return False
        item = self._item or new_item_id()
        if self._item is not None:
            self._item = new_item_id()  # what is still being said belongs to the next
        origin = Origin("input_audio_buffer.commit", by_client=True, client_event_id=client_event_id)
        return self._commit(item, origin, AT_ONCE)

    def clear(self, origin: Origin | None = None) -> None:
        """Empty the buffer."""
        if self._author.send("input_audio_buffer.clear", origin=origin):
            self._ms = 0.0
            self._clears.append(origin is not None)

    def cleared(self) -> None:
        """The provider has emptied its buffer."""
        if self._clears and self._clears.popleft():
            self._author.publish("input_audio_buffer.cleared", {}, AT_ONCE)

    def committed(self, theirs: str) -> None:
        """The provider made an item of the buffer: the one that the client knows already."""
        if self._commits and self._ids.known("item", theirs) is None:
            self._ids.bind("item", ours=self._commits.popleft(), theirs=theirs)

    def commit_failed(self) -> None:
        """The provider refused the oldest commit: there will be no item."""
        if self._commits:
            self.transcribed(self._commits.popleft())

    def transcribed(self, item_id: str) -> None:
        """What the utterance says is known, or will never be."""
        if item_id in self._untranscribed:
            self._untranscribed.remove(item_id)

    def duration_s(self, item_id: str) -> float:
        """How long the utterance was that became ``item_id``."""
        return self._durations.get(item_id, 0.0)

    def _commit(self, item: ItemId, origin: Origin, place: Place) -> bool:
        if not self._author.send("input_audio_buffer.commit", origin=origin):
            return False
        self._durations[item] = self._ms / 1000
        if len(self._durations) > _MAX_DURATIONS:
            self._durations.popitem(last=False)
        self._ms = 0.0
        self._commits.append(item)
        if self._config.transcribes:
            self._untranscribed.append(item)
        fields: Json = {"item_id": item, "previous_item_id": self._conversation.last}
        self._author.publish("input_audio_buffer.committed", fields, place)
        return True
