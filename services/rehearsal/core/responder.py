"""Generates responses, one at a time, and paces their output."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.rehearsal.core.billing import SessionBill
from services.rehearsal.core.command_list import CommandList
from services.rehearsal.core.commands import Json, Now, RecordedAnswer, SynthesiseSpeech
from services.rehearsal.core.context import ContextTooLongError, ContextWindow
from services.rehearsal.core.dialogue import RECORDED_PROMPT, AnswerContext, UnrecognisedSpeech, answer, sentences_of
from services.rehearsal.core.faults import AudioSchedule
from services.rehearsal.core.functions import FunctionCall
from services.rehearsal.core.items import ConversationItem, MessageItem, text_tokens
from services.rehearsal.core.pieces import Piece, SpeechCutter, of_arguments, of_text
from services.rehearsal.core.recordings import Recordings
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.response import ResponseBuilder, ResponseSpec, ResponseStatus
from services.rehearsal.core.sound import BYTES_PER_MS
from services.rehearsal.core.usage import PromptCache
from services.rehearsal.core.voices import DEFAULT_VOICE

_AHEAD_PIECES = 24
"""Request the next sentence when less audio than this, about five seconds, is queued: a cancel wastes no more."""
_TOKENS_PER_MINUTE = 40_000
_REQUESTS_PER_MINUTE = 1_000
_S_PER_THINKING_TOKEN = 0.005
_TOO_LONG: Json = {
    "type": "failed",
    "error": {
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
        "message": "The conversation exceeds the model's input token limit, and 'truncation' is 'disabled'.",
    },
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence to be spoken; ``pcm`` if its audio is known already."""

    text: str
    pcm: bytes | None = None


@dataclass(frozen=True, slots=True)
class ResponderContext:
    """What all responders of a session share. ``echoes``: answers repeat the caller's own audio."""

    out: CommandList
    book: SessionBill
    echoes: bool
    recordings: Recordings
    cache: PromptCache = field(default_factory=PromptCache)
    window: ContextWindow = field(default_factory=ContextWindow)


class Responder:
    """At most one response is active."""

    def __init__(self, context: ResponderContext) -> None:
        self.active: ResponseBuilder | None = None
        self._context = context
        self._out = context.out
        self._book = context.book
        self._clear()

    def _clear(self) -> None:
        self.active = None
        self._begun = False
        self._sentences: deque[Sentence] = deque()
        self._asked: Sentence | None = None
        self._index = 0
        self._pieces: deque[Piece] = deque()
        self._calls: deque[FunctionCall] = deque()
        self._cutter = SpeechCutter()
        self._due_s = 0.0

    def create(self, spec: ResponseSpec, conversation: Sequence[ConversationItem], now: Now) -> None:
        """Start a response; it waits for the recogniser if the caller's last transcript is pending.

        Raises:
            EventRefusedError: another response is active.
        """
        if self.active:
            raise EventRefusedError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self.active.spec.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        self.active = ResponseBuilder(spec, self._out)
        self.active.created()
        self.proceed(conversation, now)

    def proceed(self, conversation: Sequence[ConversationItem], now: Now) -> None:
        """Start the answer once all transcripts are complete. Safe to call at any time."""
        response = self.active
        if response is None or self._begun:
            return
        items = conversation if response.spec.given is None else response.spec.given
        if any(isinstance(item, MessageItem) and item.pending for item in items):
            return
        self._begun = True
        delivery = AudioSchedule(response.spec.faults, len(self._book.responses))
        self._due_s = now.monotonic + (delivery.first_s if response.spec.modality == "audio" else 0)
        self._cutter = SpeechCutter(delivery)
        preamble = _preamble_of(response.spec)
        window = self._context.window if response.spec.given is None else ContextWindow()
        try:
            kept = window.fit(items, truncation=response.spec.truncation, preamble_tokens=text_tokens(preamble))
        except ContextTooLongError:
            self._finish(response, "failed", _TOO_LONG)
            return
        response.given, response.cached = self._context.cache.input_of(preamble, kept)
        self._think(response)
        self._begin(response, kept, now)
        self._advance()

    def _think(self, response: ResponseBuilder) -> None:
        """Spend the tokens of the response's reasoning, and their time."""
        limit = response.spec.max_tokens
        wanted = response.spec.thinking_tokens
        response.thought = wanted if limit == "inf" else min(wanted, limit)
        self._due_s += response.thought * _S_PER_THINKING_TOKEN

    def _begin(self, response: ResponseBuilder, items: Sequence[ConversationItem], now: Now) -> None:
        spec = response.spec
        reply = answer(
            AnswerContext(items, spec.instructions, now.wall, spec.tools, spec.tool_choice, spec.parallel_tool_calls)
        )
        if isinstance(reply, tuple):
            self._calls.extend(reply)
            self._begin_call(response)
            return
        response.begin_message()
        if spec.modality == "audio" and self._context.echoes:
            self._sentences.extend(_echo_of(items))
            return
        recording = self._context.recordings.next() if isinstance(reply, UnrecognisedSpeech) else None
        if recording:
            self._out.append(RecordedAnswer())
        text = recording.text if recording else reply.text if isinstance(reply, UnrecognisedSpeech) else reply
        if spec.modality == "text":
            self._queue(of_text(text))
        elif recording and (spec.speed, spec.voice) == (1, DEFAULT_VOICE):
            self._sentences.append(Sentence(text, recording.pcm))
        else:
            self._sentences.extend(Sentence(sentence) for sentence in sentences_of(text))

    def _begin_call(self, response: ResponseBuilder) -> None:
        called = self._calls.popleft()
        response.begin_call(called)
        self._queue(of_arguments(called.arguments))

    def _queue(self, pieces: Iterable[Piece]) -> None:
        self._pieces.extend(pieces)

    def _advance(self) -> None:
        """Request the next sentence if there is room, or finish when nothing is left."""
        response = self.active
        while response and self._sentences and not self._asked and len(self._pieces) < _AHEAD_PIECES:
            sentence = self._sentences.popleft()
            if sentence.pcm is not None:
                self._queue(self._cutter.cut(sentence.text, sentence.pcm))
                continue
            self._asked = sentence
            self._index += 1
            spec = response.spec
            self._out.append(SynthesiseSpeech(spec.id, self._index, sentence.text.strip(), spec.speed, spec.voice))
        if response and not (self._sentences or self._asked or self._pieces):
            if self._calls:
                response.finish_item()
                self._begin_call(response)
            else:
                self._finish(response, "completed", None)

    def synthesis_finished(self, response_id: str, index: int, pcm: bytes | None, now: Now) -> None:
        """Handle the audio of a `SynthesiseSpeech`; None: it failed. Audio of a cancelled response is ignored."""
        response = self.active
        if not response or not self._asked or (response.spec.id, self._index) != (response_id, index):
            return
        if pcm is None:
            error: Json = {"type": "server_error", "code": "voice_lost", "message": "The voice process was lost."}
            self._finish(response, "failed", {"type": "failed", "error": error})
            return
        sentence, self._asked = self._asked, None
        if not self._pieces:
            self._due_s = max(self._due_s, now.monotonic)
        self._queue(self._cutter.cut(sentence.text, pcm))
        self._advance()

    @property
    def next_due_s(self) -> float | None:
        """Monotonic seconds at which `on_timer` must be called; None: never."""
        return self._due_s if self._pieces else None

    def on_timer(self, now: Now) -> None:
        """Send the pieces that are due."""
        while self.active and self._pieces and self._due_s <= now.monotonic:
            piece = self._pieces.popleft()
            if not self.active.has_room_for(piece):
                self._finish(self.active, "incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
                return
            self._due_s += piece.lasts_s
            self.active.emit(piece)
            self._book.generated_bytes += len(piece.pcm)
            self._advance()

    def cancel(self, response: ResponseBuilder, reason: str) -> None:
        """Stop the active ``response`` with status `cancelled`; what was generated is kept."""
        self._finish(response, "cancelled", {"type": "cancelled", "reason": reason})

    def _finish(self, response: ResponseBuilder, status: ResponseStatus, details: Json | None) -> None:
        usage = response.finish(status, details)
        self._book.responses.append((response.spec.id, status, usage))
        self._book.items[response.spec.id] = response.item_ids
        self._clear()
        self._limits(usage.given.total + usage.made.total)

    def _limits(self, tokens: int) -> None:
        self._out.append_event(
            "rate_limits.updated",
            rate_limits=[
                _limit("requests", _REQUESTS_PER_MINUTE, 1),
                _limit("tokens", _TOKENS_PER_MINUTE, min(tokens, _TOKENS_PER_MINUTE)),
            ],
        )


def _preamble_of(spec: ResponseSpec) -> str:
    tools = json.dumps([tool.model_dump() for tool in spec.tools]) if spec.tools else ""
    return spec.instructions + tools


def _limit(name: str, limit: int, used: int) -> Json:
    return {"name": name, "limit": limit, "remaining": limit - used, "reset_seconds": round(60 * used / limit, 3)}


def _echo_of(items: Sequence[ConversationItem]) -> list[Sentence]:
    """The recorded prompt, followed by the audio of the caller's newest message."""
    reply = [Sentence(RECORDED_PROMPT)]
    kept = next((item.kept for item in reversed(items) if isinstance(item, MessageItem) and item.role == "user"), b"")
    if kept:
        seconds = len(kept) / BYTES_PER_MS / 1000
        reply.append(Sentence(f" (An echo of {seconds:.1f} seconds of your voice.)", kept))
    return reply
