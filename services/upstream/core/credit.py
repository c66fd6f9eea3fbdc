"""Flow control of audio to media: what is more than 10 s ahead of the playout waits, and is dropped on a cut."""

from collections import deque

from services.contracts.audio import DOWN_HZ, SAMPLE_BYTES
from services.contracts.frame import MAX_AUDIO_DOWN_BYTES
from services.contracts.ids import ItemId
from services.upstream.core.commands import PublishAudio

CREDIT_SAMPLES = 10 * DOWN_HZ


class Credit:
    """The audio of one call that was published or waits for credit."""

    def __init__(self) -> None:
        self._waiting: deque[PublishAudio] = deque()
        self._sent: dict[ItemId, int] = {}  # items that are not over -> samples published
        self._played: dict[ItemId, int] = {}

    @property
    def ahead(self) -> int:
        """Samples published and not yet played."""
        return sum(max(0, sent - self._played.get(item, 0)) for item, sent in self._sent.items())

    def queue_audio(self, audio: PublishAudio) -> list[PublishAudio]:
        """Queue audio of any length; return what may be published now, in pieces that fit a frame of the bus."""
        pieces = range(0, len(audio.pcm), MAX_AUDIO_DOWN_BYTES) if audio.pcm else [0]
        for start in pieces:
            pcm = audio.pcm[start : start + MAX_AUDIO_DOWN_BYTES]
            is_last = start + MAX_AUDIO_DOWN_BYTES >= len(audio.pcm)
            position = audio.position + start // SAMPLE_BYTES
            self._waiting.append(PublishAudio(audio.item_id, position, pcm, end=audio.end and is_last))
        return self._release()

    def on_played(self, item_id: ItemId, samples: int) -> list[PublishAudio]:
        """Record that ``samples`` of the item were played; return what may be published now."""
        if item_id in self._sent:
            self._played[item_id] = samples
        return self._release()

    def drop_item(self, item_id: ItemId) -> list[PublishAudio]:
        """Remove the item and the audio of it that waits; return the audio of others that may be published now."""
        self._waiting = deque(audio for audio in self._waiting if audio.item_id != item_id)
        self._sent.pop(item_id, None)
        self._played.pop(item_id, None)
        return self._release()

    def _release(self) -> list[PublishAudio]:
        released: list[PublishAudio] = []
        while self._waiting and (self.ahead < CREDIT_SAMPLES or not self._waiting[0].pcm):
            audio = self._waiting.popleft()
            self._sent[audio.item_id] = audio.position + len(audio.pcm) // SAMPLE_BYTES
            released.append(audio)
        return released
