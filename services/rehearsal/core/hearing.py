"""What becomes of an utterance: an item, what the ear understood of it, and its transcription's own usage."""

from services.rehearsal.core.answers import Answers
from services.rehearsal.core.billing import Book
from services.rehearsal.core.commands import Json
from services.rehearsal.core.config import Transcription
from services.rehearsal.core.input_audio import Utterance
from services.rehearsal.core.items import (
    USER_MS_PER_TOKEN,
    Message,
    Part,
    audio_tokens,
    text_tokens,
    words_of,
)
from services.rehearsal.core.out import Out
from services.rehearsal.core.sound import BYTES_PER_MS

_BY_DURATION = "whisper-1"


class Hearing:
    """Keeps the items whose words are not known yet."""

    def __init__(self, *, out: Out, book: Book, answers: Answers) -> None:
        self._out = out
        self._book = book
        self._answers = answers
        self._awaited: dict[str, tuple[Message, Transcription | None]] = {}

    def item_of(self, utterance: Utterance) -> Message:
        """The caller's message."""
        part = Part("input_audio", None, utterance.length_bytes)
        return Message(utterance.item_id, "user", [part], kept=utterance.kept)

    def expect(self, item: Message, utterance: Utterance, transcription: Transcription | None) -> None:
        """Await the words of ``item``; what was not audible has none."""
        self._awaited[item.id] = (item, transcription)
        if not self._answers.has_ear:
            self.heard(item.id, None)
        elif utterance.audible:
            item.pending = True
        else:
            self.heard(item.id, "")

    def heard(self, utterance: str, text: str | None) -> None:
        """The ear has answered; None: it failed. Nobody waits for what was never committed."""
        item, transcription = self._awaited.pop(utterance, (None, None))
        if item is None:
            return
        item.pending = False
        part = item.content[0]
        part.text = text
        item.unheard = text is None
        if transcription is None:
            return
        if text is None:
            self._failed(item.id)
        else:
            self._transcribed(item.id, text, part.audio_bytes, transcription)

    def _failed(self, item_id: str) -> None:
        error: Json = {
            "type": "server_error",
            "code": self._answers.code,
            "message": self._answers.failure,
            "param": None,
        }
        self._out.event(
            "conversation.item.input_audio_transcription.failed", item_id=item_id, content_index=0, error=error
        )

    def _transcribed(self, item_id: str, text: str, length_bytes: int, transcription: Transcription) -> None:
        kind = "conversation.item.input_audio_transcription"
        if transcription.model != _BY_DURATION:  # the older model gives its text in one piece
            for word in words_of(text):
                self._out.event(f"{kind}.delta", item_id=item_id, content_index=0, delta=word)
        usage = _usage(text, length_bytes, transcription)
        self._book.transcriptions.append((item_id, usage))
        self._out.event(f"{kind}.completed", item_id=item_id, content_index=0, transcript=text, usage=usage)


def _usage(text: str, length_bytes: int, transcription: Transcription) -> Json:
    if transcription.model == _BY_DURATION:
        return {"type": "duration", "seconds": length_bytes / BYTES_PER_MS / 1000}
    given = audio_tokens(length_bytes, ms_per_token=USER_MS_PER_TOKEN)
    made = text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": given + made,
        "input_tokens": given,
        "input_token_details": {"text_tokens": 0, "audio_tokens": given},
        "output_tokens": made,
    }
