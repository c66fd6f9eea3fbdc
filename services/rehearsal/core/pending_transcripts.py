"""Items whose transcript is pending, the transcription events, and the transcription's usage."""

from services.rehearsal.core.answers import Answers
from services.rehearsal.core.billing import SessionBill
from services.rehearsal.core.command_list import CommandList
from services.rehearsal.core.commands import Json
from services.rehearsal.core.config import Transcription
from services.rehearsal.core.input_audio import CommittedAudio
from services.rehearsal.core.items import (
    USER_MS_PER_TOKEN,
    ItemPart,
    MessageItem,
    audio_tokens,
    text_tokens,
    words_of,
)
from services.rehearsal.core.sound import BYTES_PER_MS

_BY_DURATION = "whisper-1"


class PendingTranscripts:
    """Keeps the items whose transcript is pending."""

    def __init__(self, *, out: CommandList, book: SessionBill, answers: Answers) -> None:
        self._out = out
        self._book = book
        self._answers = answers
        self._awaited: dict[str, tuple[MessageItem, Transcription | None]] = {}

    def item_of(self, utterance: CommittedAudio) -> MessageItem:
        """The caller's message."""
        part = ItemPart("input_audio", None, utterance.length_bytes)
        return MessageItem(utterance.item_id, "user", [part], kept=utterance.kept)

    def expect(self, item: MessageItem, utterance: CommittedAudio, transcription: Transcription | None) -> None:
        """Wait for the transcript of ``item``; inaudible audio gets none."""
        self._awaited[item.id] = (item, transcription)
        if not self._answers.recognises_speech:
            self.transcription_finished(item.id, None)
        elif utterance.audible:
            item.pending = True
        else:
            self.transcription_finished(item.id, "")

    def transcription_finished(self, utterance: str, text: str | None) -> None:
        """Handle the transcript of ``utterance``; None: recognition failed. Ignored if it was never committed."""
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
        self._out.append_event(
            "conversation.item.input_audio_transcription.failed", item_id=item_id, content_index=0, error=error
        )

    def _transcribed(self, item_id: str, text: str, length_bytes: int, transcription: Transcription) -> None:
        kind = "conversation.item.input_audio_transcription"
        if transcription.model != _BY_DURATION:  # the older model sends its text in one piece
            for word in words_of(text):
                self._out.append_event(f"{kind}.delta", item_id=item_id, content_index=0, delta=word)
        usage = _usage(text, length_bytes, transcription)
        self._book.transcriptions.append((item_id, usage))
        self._out.append_event(f"{kind}.completed", item_id=item_id, content_index=0, transcript=text, usage=usage)


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
