"""Down is lossless, by credit: what is more than 10 s ahead of the ear waits here, and is thrown away on a cut."""

from collections import deque

from services.contracts.audio import DOWN_HZ, SAMPLE_BYTES
from services.contracts.frame import MAX_AUDIO_DOWN_BYTES
from services.contracts.ids import ItemId
from services.upstream.core.commands import PublishAudio

CREDIT_SAMPLES = 10 * DOWN_HZ


class Credit:
    """Audio of one call on its way to media."""

    def __init__(self) -> None:
        self._waiting: deque[PublishAudio] = deque()
        self._sent: dict[ItemId, int] = {}  # items that are not over -> samples published
        self._played: dict[ItemId, int] = {}

    @property
    def ahead(self) -> int:
        """Samples published and not yet played."""
        return sum(max(0, sent - self._played.get(item, 0)) for item, sent in self._sent.items())

    def push(self, audio: PublishAudio) -> list[PublishAudio]:
        """More audio, of any length; returns what may be published now, in pieces that fit a frame."""
        pieces = range(0, len(audio.pcm), MAX_AUDIO_DOWN_BYTES) if audio.pcm else [0]
        for start in pieces:
            pcm = audio.pcm[start : start + MAX_AUDIO_DOWN_BYTES]
            is_last = start + MAX_AUDIO_DOWN_BYTES >= len(audio.pcm)
            position = audio.position + start // SAMPLE_BYTES
            self._waiting.append(PublishAudio(audio.item_id, position, pcm, end=audio.end and is_last))
        return self._release()

    def played(self, item_id: ItemId, samples: int) -> list[PublishAudio]:
        """Media reports; returns what may follow."""
        if item_id in self._sent:
            self._played[item_id] = samples
        return self._release()

    def drop(self, item_id: ItemId) -> list[PublishAudio]:
        """The item is over, or is to be; returns what of others may follow."""
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
