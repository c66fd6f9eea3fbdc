"""The provider's side of one Realtime connection: client events in, commands out, no clock and no socket."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from services.rehearsal.core.answers import FULL, Answers
from services.rehearsal.core.billing import Book
from services.rehearsal.core.commands import Close, Command, Json, Now
from services.rehearsal.core.config import SessionConfig
from services.rehearsal.core.conversation import Conversation, item_of
from services.rehearsal.core.faults import NO_FAULTS, Faults, faults_in
from services.rehearsal.core.hearing import Hearing
from services.rehearsal.core.input_audio import InputBuffer
from services.rehearsal.core.items import Item
from services.rehearsal.core.out import NewId, Out, provider_id
from services.rehearsal.core.recordings import Recording, Recordings
from services.rehearsal.core.refusal import RefusedError
from services.rehearsal.core.responder import Responder
from services.rehearsal.core.response import Spec
from services.rehearsal.core.sound import decode
from services.rehearsal.core.vad import Change
from services.rehearsal.core.wire import (
    Append,
    ClearInput,
    ClientEvent,
    Commit,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    ReferenceIn,
    ResponseCancel,
    ResponseCreate,
    ResponseParams,
    SessionUpdate,
    client_event,
    event_id_of,
    parse,
)

_GOING_AWAY = 1001


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a whole session.

    ``answers``: how it answers speech. ``recordings``: what is said to speech that is not recognised.
    """

    model: str
    max_session_s: float = 3600
    answers: Answers = FULL
    recordings: Sequence[Recording] = ()
    new_id: NewId = provider_id
    faults: Faults = NO_FAULTS


class Session:
    """One session. Every method returns what must happen now, in order."""

    def __init__(self, terms: Terms, now: Now) -> None:
        self._out = Out(terms.new_id)
        self._terms = terms
        self.id = terms.new_id("sess")
        self._ends_s = now.monotonic + terms.max_session_s
        self._expires_at = int(now.wall.timestamp() + terms.max_session_s)
        self._config = SessionConfig(type="realtime", model=terms.model)
        self.book = Book(self.id, terms.model)
        self._conversation = Conversation(terms.new_id("conv"), self._out)
        answers = self.answers = terms.answers
        self._input = InputBuffer(self._out, has_ear=answers.has_ear, keeps_sound=answers.echoes)
        self._input.detect(self._config.turn_detection)
        self._hearing = Hearing(out=self._out, book=self.book, answers=answers)
        # Sessions that open together do not say the same thing at the same time.
        recordings = Recordings(terms.recordings, first=zlib.crc32(self.id.encode()))
        self._responder = Responder(out=self._out, book=self.book, echoes=answers.echoes, recordings=recordings)

    # --- what the shell tells ----------------------------------------------------------------------------------

    def opened(self) -> list[Command]:
        """The socket is open."""
        self._out.event("session.created", session=self._session())
        conversation: Json = {"id": self._conversation.id, "object": "realtime.conversation"}
        self._out.event("conversation.created", conversation=conversation)
        return self._out.take()

    def received(self, text: str, now: Now) -> list[Command]:
        """The client sent a message."""
        raw: Json = {}
        try:
            raw = parse(text)
            self._handle(client_event(raw), now)
        except RefusedError as refused:
            self._out.event("error", error=refused.wire(event_id_of(raw)))
        return self._out.take()

    def heard(self, utterance: str, text: str | None, now: Now) -> list[Command]:
        """The ear understood an utterance; None: it failed."""
        self._hearing.heard(utterance, text)
        self._responder.proceed(self._conversation.items, now)
        return self._out.take()

    def said(self, response_id: str, index: int, pcm: bytes | None, now: Now) -> list[Command]:
        """The mouth made the sound of a sentence; None: it failed."""
        self._responder.said(response_id, index, pcm, now)
        return self._out.take()

    @property
    def next_due_s(self) -> float:
        """When `tick` wants to be called, in monotonic seconds."""
        due = self._responder.next_due_s
        return self._ends_s if due is None else min(due, self._ends_s)

    def tick(self, now: Now) -> list[Command]:
        """It is `next_due_s`, or later."""
        self._responder.tick(now)
        if now.monotonic >= self._ends_s:
            minutes = f"{self._terms.max_session_s / 60:g}"
            refused = RefusedError("session_expired", f"Your session hit the maximum duration of {minutes} minutes.")
            self._out.event("error", error=refused.wire(None))
            self._out.do(Close(_GOING_AWAY, "session_expired"))
        return self._out.take()

    def closed(self) -> list[Command]:
        """The socket is gone: what was generated is billed, the ear is given back."""
        if self._responder.active:
            self._responder.cancel(self._responder.active, "client_cancelled")
        self._input.clear()
        return self._out.take()

    # --- client events -----------------------------------------------------------------------------------------

    def _handle(self, event: ClientEvent, now: Now) -> None:  # noqa: C901 - one flat case per client event
        match event:
            case Append():
                self._append(event, now)
            case Commit():
                self._commit(now)
            case ClearInput():
                self._input.clear()
                self._out.event("input_audio_buffer.cleared")
            case SessionUpdate():
                self._update(event.session)
            case ItemCreate():
                self._conversation.create(event)
            case ItemRetrieve():
                self._conversation.retrieve(event.item_id)
            case ItemTruncate():
                self._conversation.truncate(event)
                self.book.truncations.append((event.item_id, event.audio_end_ms))
            case ItemDelete():
                self._conversation.delete(event.item_id)
                self._responder.proceed(self._conversation.items, now)
            case ResponseCreate():
                self._respond(event.response, now)
            case ResponseCancel():
                self._cancel(event)
            case _:
                raise RefusedError(
                    "invalid_value", "output_audio_buffer.clear exists over WebRTC and SIP only.", "type"
                )

    def _session(self) -> Json:
        return {
            **self._config.model_dump(),
            "id": self.id,
            "object": "realtime.session",
            "expires_at": self._expires_at,
        }

    def _update(self, update: SessionConfig) -> None:
        updated = self._config.updated(update, has_spoken=self._responder.has_spoken)
        faults_in(updated.instructions, self._terms.faults)  # refused now, not at the first response
        self._config = updated
        self._input.detect(self._config.turn_detection)
        self._out.event("session.updated", session=self._session())

    def _append(self, event: Append, now: Now) -> None:
        pcm = decode(event.audio, "audio")
        self.book.received_bytes += len(pcm)
        for piece in self._input.pieces(pcm):
            change = self._input.push(piece)
            if change is Change.STARTED:
                self._speech_started()
            elif change is Change.STOPPED:
                self._speech_stopped(now)

    def _speech_started(self) -> None:
        detection = self._config.turn_detection
        self._out.event(
            "input_audio_buffer.speech_started", item_id=self._input.item_id, audio_start_ms=self._input.start_ms
        )
        if detection and detection.interrupt_response and self._responder.active:
            self._responder.cancel(self._responder.active, "turn_detected")

    def _speech_stopped(self, now: Now) -> None:
        detection = self._config.turn_detection
        self._out.event(
            "input_audio_buffer.speech_stopped", item_id=self._input.item_id, audio_end_ms=self._input.end_ms
        )
        self._commit(now)
        if detection and detection.create_response:
            self._respond(ResponseParams(), now)

    def _commit(self, now: Now) -> None:
        utterance = self._input.commit()
        item = self._hearing.item_of(utterance)
        before = self._conversation.last_id
        self._out.event("input_audio_buffer.committed", item_id=item.id, previous_item_id=before)
        self._conversation.announce(item)
        self._conversation.finish(item)
        self._hearing.expect(item, utterance, self._config.audio.input.transcription)
        self._responder.proceed(self._conversation.items, now)

    def _cancel(self, event: ResponseCancel) -> None:
        active = self._responder.active
        if active is None or event.response_id not in {None, active.spec.id}:
            raise RefusedError("response_cancel_not_active", "Cancellation failed: no active response found")
        self._responder.cancel(active, "client_cancelled")

    def _respond(self, params: ResponseParams, now: Now) -> None:
        self._responder.create(self._spec(params), self._conversation.items, now)

    def _spec(self, params: ResponseParams) -> Spec:
        config = self._config
        output = params.audio.output if params.audio else None
        instructions = config.instructions if params.instructions is None else params.instructions
        return Spec(
            id=self._out.new_id("resp"),
            modality=(params.output_modalities or config.output_modalities)[0],
            instructions=instructions,
            tools=config.tools if params.tools is None else params.tools,
            tool_choice=params.tool_choice or config.tool_choice,
            max_tokens=params.max_output_tokens or config.max_output_tokens,
            metadata=params.metadata,
            voice=output.voice if output and output.voice else config.audio.output.voice,
            speed=config.audio.output.speed,
            given=self._given(params),
            conversation=self._conversation if params.conversation == "auto" else None,
            faults=faults_in(instructions, self._terms.faults),
        )

    def _given(self, params: ResponseParams) -> tuple[Item, ...] | None:
        if params.input is None:
            return None
        return tuple(
            self._conversation.find(given.id, code="invalid_value")
            if isinstance(given, ReferenceIn)
            else item_of(given, self._out)
            for given in params.input
        )
