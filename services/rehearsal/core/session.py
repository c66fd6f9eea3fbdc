"""The provider's side of one Realtime connection: client events in, commands out, no clock and no socket."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.rehearsal.core.answers import FULL, Answers
from services.rehearsal.core.billing import SessionBill
from services.rehearsal.core.command_list import CommandList, NewId, provider_id
from services.rehearsal.core.commands import CloseSocket, Json, Now, RehearsalCommand
from services.rehearsal.core.config import LOGPROBS, CompleteSession, trace_of
from services.rehearsal.core.conversation_items import ConversationItems, item_of
from services.rehearsal.core.faults import NO_FAULTS, Faults, faults_in
from services.rehearsal.core.input_audio import InputBuffer
from services.rehearsal.core.item_wire import ReferenceIn
from services.rehearsal.core.items import ConversationItem
from services.rehearsal.core.pending_transcripts import PendingTranscripts
from services.rehearsal.core.recordings import Recording, Recordings
from services.rehearsal.core.refusal import EventRefusedError
from services.rehearsal.core.responder import Responder, ResponderContext
from services.rehearsal.core.response_spec import response_spec
from services.rehearsal.core.response_wire import ResponseParams
from services.rehearsal.core.sound import decode
from services.rehearsal.core.transcript import Transcript
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
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    client_event,
    event_id_of,
    parse,
)

_GOING_AWAY = 1001


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """Settings of a whole session.

    ``answers``: how it answers speech. ``recordings``: the answers to speech that is not recognised.
    """

    model: str
    max_session_s: float = 3600
    answers: Answers = FULL
    recordings: Sequence[Recording] = ()
    new_id: NewId = provider_id
    faults: Faults = NO_FAULTS


class RehearsalSession:
    """One session. Every method returns the commands to carry out now, in order."""

    def __init__(self, terms: SessionTerms, now: Now) -> None:
        self._out = CommandList(terms.new_id)
        self._terms = terms
        self.id = terms.new_id("sess")
        self._ends_s = now.monotonic + terms.max_session_s
        self._expires_at = int(now.wall.timestamp() + terms.max_session_s)
        self._config = CompleteSession(type="realtime", model=terms.model)
        self.book = SessionBill(self.id, terms.model)
        self._conversation = ConversationItems(terms.new_id("conv"), self._out)
        answers = self.answers = terms.answers
        self._input = InputBuffer(self._out, has_recogniser=answers.recognises_speech, keeps_sound=answers.echoes)
        self._input.set_turn_detection(self._config.turn_detection)
        self._hearing = PendingTranscripts(out=self._out, book=self.book, answers=answers)
        # Sessions that open together start with different recordings.
        recordings = Recordings(terms.recordings, first=zlib.crc32(self.id.encode()))
        self._context = ResponderContext(self._out, self.book, answers.echoes, recordings)
        self._responder = Responder(self._context)
        self._out_of_band: list[Responder] = []

    # --- inputs from the shell ---------------------------------------------------------------------------------

    def on_open(self) -> list[RehearsalCommand]:
        """Start the session when the socket is open."""
        self._out.append_event("session.created", session=self._session())
        conversation: Json = {"id": self._conversation.id, "object": "realtime.conversation"}
        self._out.append_event("conversation.created", conversation=conversation)
        return self._out.drain()

    def on_client_message(self, text: str, now: Now) -> list[RehearsalCommand]:
        """Handle a message from the client."""
        raw: Json = {}
        try:
            raw = parse(text)
            self._handle(client_event(raw), now)
        except EventRefusedError as refused:
            self._out.append_event("error", error=refused.as_json(event_id_of(raw)))
        return self._out.drain()

    def transcription_finished(self, utterance: str, heard: Transcript | None, now: Now) -> list[RehearsalCommand]:
        """Handle the transcript of an utterance; None: recognition failed."""
        self._hearing.transcription_finished(utterance, heard)
        self._proceed(now)
        return self._out.drain()

    def synthesis_finished(self, response_id: str, index: int, pcm: bytes | None, now: Now) -> list[RehearsalCommand]:
        """Handle the audio of a sentence; None: synthesis failed."""
        for responder in self._responders():
            responder.synthesis_finished(response_id, index, pcm, now)
        return self._out.drain()

    @property
    def next_due_s(self) -> float:
        """Monotonic seconds at which `on_timer` must be called."""
        dues = [due for responder in self._responders() if (due := responder.next_due_s) is not None]
        return min(self._ends_s, *dues) if dues else self._ends_s

    def on_timer(self, now: Now) -> list[RehearsalCommand]:
        """Send what is due; call it at `next_due_s` or later."""
        for responder in self._responders():
            responder.on_timer(now)
        if now.monotonic >= self._ends_s:
            minutes = f"{self._terms.max_session_s / 60:g}"
            refused = EventRefusedError(
                "session_expired", f"Your session hit the maximum duration of {minutes} minutes."
            )
            self._out.append_event("error", error=refused.as_json(None))
            self._out.append(CloseSocket(_GOING_AWAY, "session_expired"))
        return self._out.drain()

    def on_close(self) -> list[RehearsalCommand]:
        """End the session when the socket is closed: bill what was generated, release the recogniser."""
        for responder in self._responders():
            if responder.active:
                responder.cancel(responder.active, "client_cancelled")
        self._input.clear()
        return self._out.drain()

    def _responders(self) -> list[Responder]:
        """The conversation's responder, and those of the responses out of band that are not finished."""
        self._out_of_band = [responder for responder in self._out_of_band if responder.active]
        return [self._responder, *self._out_of_band]

    def _proceed(self, now: Now) -> None:
        """Start the responses that waited for a transcript."""
        for responder in self._responders():
            responder.proceed(self._conversation.items, now)

    # --- client events -----------------------------------------------------------------------------------------

    def _handle(self, event: ClientEvent, now: Now) -> None:  # noqa: C901 - one flat case per client event
        match event:
            case Append():
                self._append(event, now)
            case Commit():
                self._commit(now)
            case ClearInput():
                self._input.clear()
                self._out.append_event("input_audio_buffer.cleared")
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
                self._proceed(now)
            case ResponseCreate():
                self._respond(event.response, now)
            case ResponseCancel():
                self._cancel(event)
            case _:
                raise EventRefusedError(
                    "invalid_value", "output_audio_buffer.clear exists over WebRTC and SIP only.", "type"
                )

    def _session(self) -> Json:
        return {
            **self._config.model_dump(),
            "id": self.id,
            "object": "realtime.session",
            "expires_at": self._expires_at,
        }

    def _update(self, update: CompleteSession) -> None:
        updated = self._config.updated(update, has_spoken=self._has_spoken)
        faults_in(updated.instructions, self._terms.faults)  # refused now, not at the first response
        self._config = updated
        self.book.trace = trace_of(updated, session_id=self.id)
        self._input.set_turn_detection(self._config.turn_detection)
        self._out.append_event("session.updated", session=self._session())

    def _append(self, event: Append, now: Now) -> None:
        pcm = decode(event.audio, "audio")
        self.book.received_bytes += len(pcm)
        for piece in self._input.split(pcm):
            change = self._input.append_audio(piece)
            if change is Change.STARTED:
                self._speech_started()
            elif change is Change.STOPPED:
                self._speech_stopped(now)

    def _speech_started(self) -> None:
        detection = self._config.turn_detection
        self._out.append_event(
            "input_audio_buffer.speech_started", item_id=self._input.item_id, audio_start_ms=self._input.start_ms
        )
        if detection and detection.interrupt_response and self._responder.active:
            self._responder.cancel(self._responder.active, "turn_detected")

    def _speech_stopped(self, now: Now) -> None:
        detection = self._config.turn_detection
        self._out.append_event(
            "input_audio_buffer.speech_stopped", item_id=self._input.item_id, audio_end_ms=self._input.end_ms
        )
        self._commit(now)
        if detection and detection.create_response:
            self._respond(ResponseParams(), now)

    def _commit(self, now: Now) -> None:
        utterance = self._input.commit()
        item = self._hearing.item_of(utterance)
        before = self._conversation.last_id
        self._out.append_event("input_audio_buffer.committed", item_id=item.id, previous_item_id=before)
        self._conversation.insert(item)
        self._conversation.finish(item)
        with_logprobs = LOGPROBS in (self._config.include or ())
        self._hearing.expect(item, utterance, self._config.audio.input.transcription, with_logprobs=with_logprobs)
        self._proceed(now)

    def _cancel(self, event: ResponseCancel) -> None:
        for responder in self._responders():
            active = responder.active
            if active and event.response_id in {None, active.spec.id}:
                responder.cancel(active, "client_cancelled")
                return
        raise EventRefusedError("response_cancel_not_active", "Cancellation failed: no active response found")

    @property
    def _has_spoken(self) -> bool:
        return self.book.generated_bytes > 0

    def _respond(self, params: ResponseParams, now: Now) -> None:
        spec = response_spec(
            params,
            self._config,
            response_id=self._out.new_id("resp"),
            conversation=self._conversation,
            has_spoken=self._has_spoken,
            faults=self._terms.faults,
        )
        spec = replace(spec, given=self._given(params))
        responder = self._responder
        if spec.conversation is None:
            responder = Responder(self._context)
            self._out_of_band.append(responder)
        responder.create(spec, self._conversation.items, now)

    def _given(self, params: ResponseParams) -> tuple[ConversationItem, ...] | None:
        if params.input is None:
            return None
        return tuple(
            self._conversation.find(given.id, code="invalid_value", param=f"response.input[{index}].id")
            if isinstance(given, ReferenceIn)
            else item_of(given, self._out, param=f"response.input[{index}]")
            for index, given in enumerate(params.input)
        )
