"""Items whose transcript is pending, the transcription events, and the transcription's usage."""

from dataclasses import dataclass

from pydantic import JsonValue

from services.rehearsal.core.answers import Answers
from services.rehearsal.core.billing import SessionBill
from services.rehearsal.core.command_list import CommandList
from services.rehearsal.core.commands import Json
from services.rehearsal.core.config import DETECTS_LANGUAGES, Transcription
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
from services.rehearsal.core.transcript import Transcript, logprobs_of, spelled_like

_BY_DURATION = "whisper-1"


@dataclass(frozen=True, slots=True)
class _Awaited:
    """An item and the settings with which it was committed."""

    item: MessageItem
    transcription: Transcription | None
    with_logprobs: bool


class PendingTranscripts:
    """Keeps the items whose transcript is pending."""

    def __init__(self, *, out: CommandList, book: SessionBill, answers: Answers) -> None:
        self._out = out
        self._book = book
        self._answers = answers
        self._awaited: dict[str, _Awaited] = {}

    def item_of(self, utterance: CommittedAudio) -> MessageItem:
        """The caller's message."""
        part = ItemPart("input_audio", None, utterance.length_bytes)
        return MessageItem(utterance.item_id, "user", [part], kept=utterance.kept)

    def expect(
        self, item: MessageItem, utterance: CommittedAudio, transcription: Transcription | None, *, with_logprobs: bool
    ) -> None:
        """Wait for the transcript of ``item``; inaudible audio gets none."""
        self._awaited[item.id] = _Awaited(item, transcription, with_logprobs)
        if not self._answers.recognises_speech:
            self.transcription_finished(item.id, None)
        elif utterance.audible:
            item.pending = True
        else:
            self.transcription_finished(item.id, Transcript(""))

    def transcription_finished(self, utterance: str, heard: Transcript | None) -> None:
        """Handle the transcript of ``utterance``; None: recognition failed. Ignored if it was never committed."""
        awaited = self._awaited.pop(utterance, None)
        if awaited is None:
            return
        item, transcription = awaited.item, awaited.transcription
        item.pending = False
        item.unheard = heard is None
        if heard is None:
            item.content[0].text = None
            if transcription:
                self._failed(item.id)
            return
        item.content[0].text = spelled_like(heard.text, transcription.spelling) if transcription else heard.text
        if transcription:
            self._transcribed(item, transcription, heard.logprob if awaited.with_logprobs else None)

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

    def _transcribed(self, item: MessageItem, transcription: Transcription, logprob: float | None) -> None:
        kind = "conversation.item.input_audio_transcription"
        text = item.content[0].text or ""
        words = words_of(text)
        where: Json = {"item_id": item.id, "content_index": 0}
        if transcription.model != _BY_DURATION:  # the older model sends its text in one piece
            for word in words:
                self._out.append_event(f"{kind}.delta", **where, delta=word, **_logprobs([word], logprob))
        usage = _usage(text, item.content[0].audio_bytes, transcription)
        self._book.transcriptions.append((item.id, usage))
        detected = {"languages": _languages(text, transcription)} if transcription.model == DETECTS_LANGUAGES else {}
        self._out.append_event(
            f"{kind}.completed", **where, transcript=text, usage=usage, **_logprobs(words, logprob), **detected
        )


def _languages(text: str, transcription: Transcription) -> JsonValue:
    """The languages detected in the transcript: the recogniser knows one."""
    return [{"code": code} for code in (transcription.languages or ["en"])[:1]] if text else []


def _logprobs(words: list[str], logprob: float | None) -> Json:
    return {} if logprob is None else {"logprobs": logprobs_of(words, logprob)}


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
