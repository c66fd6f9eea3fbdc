"""A client for the session core: plays recogniser and synthesiser, moves the clock, checks event types."""

import base64
import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from services.rehearsal.core.answers import FULL, Answers
from services.rehearsal.core.commands import (
    ArchiveAudio,
    CloseSocket,
    DiscardUtterance,
    FinishRecognition,
    Now,
    RecogniseAudio,
    RehearsalCommand,
    SendServerEvent,
    SynthesiseSpeech,
)
from services.rehearsal.core.recordings import Recording
from services.rehearsal.core.session import RehearsalSession, SessionTerms
from services.rehearsal.core.transcript import Transcript

RehearsalEvent = dict[str, Any]

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
WALL = datetime(2026, 11, 25, 9, 5, tzinfo=UTC)
MS_PER_CHAR = 60
LOGPROB = -0.25


def tone(ms: int, level: float = 0.2) -> bytes:
    """A sound loud enough to count as speech."""
    samples = np.sin(np.arange(24 * ms) * 0.2) * 32767 * level
    return bytes(samples.astype("<i2").tobytes())


def silence(ms: int) -> bytes:
    return bytes(48 * ms)


def sound_of(text: str) -> bytes:
    """The simulated synthesiser's audio for ``text``: 60 ms per character."""
    return tone(MS_PER_CHAR * len(text))


class SessionDriver:
    """Drives a `RehearsalSession`. ``transcripts``: the recogniser's results in order; None: it fails."""

    def __init__(
        self,
        *,
        transcripts: Iterable[str | None] = (),
        voice: Answers = FULL,
        recordings: Sequence[Recording] = (),
        answers: bool = True,
        max_session_s: float = 3600,
        model: str = "gpt-realtime-2.1",
    ) -> None:
        numbers = itertools.count(1)
        self.now = 100.0
        self.commands: list[RehearsalCommand] = []
        self.events: list[RehearsalEvent] = []
        self.recognised_audio = bytearray()
        self.kept: dict[str, bytes] = {}
        self.synthesiser_works = True
        self.answers = answers
        self._transcripts = iter(transcripts)
        new_id = lambda prefix: f"{prefix}_{next(numbers)}"  # noqa: E731 - a name for it would be longer
        self.session = RehearsalSession(
            SessionTerms(
                model,
                answers=voice,
                recordings=recordings,
                new_id=new_id,
                max_session_s=max_session_s,
            ),
            self.at,
        )
        self._carry_out(self.session.on_open())

    @property
    def at(self) -> Now:
        return Now(self.now, WALL)

    def send(self, kind: str, **fields: object) -> list[RehearsalEvent]:
        """Send a client event; returns what came back at once, without pacing."""
        return self.send_raw(json.dumps({"type": kind, **fields}))

    def send_raw(self, text: str) -> list[RehearsalEvent]:
        before = len(self.events)
        self._carry_out(self.session.on_client_message(text, self.at))
        return self.events[before:]

    def append(self, pcm: bytes) -> list[RehearsalEvent]:
        return self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def configure(self, **session: object) -> list[RehearsalEvent]:
        return self.send("session.update", session={"type": "realtime", **session})

    def manual(self, **audio_input: object) -> None:
        self.configure(audio={"input": {"turn_detection": None, **audio_input}})

    def text(self, words: str) -> list[RehearsalEvent]:
        content = [{"type": "input_text", "text": words}]
        return self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def wait(self, seconds: float = 600.0) -> list[RehearsalEvent]:
        """Advance the clock, step by step, until nothing is due any more."""
        before, until = len(self.events), self.now + seconds
        while (due := self.session.next_due_s) <= until:
            self.now = max(self.now, due)
            self._carry_out(self.session.on_timer(self.at))
            if any(isinstance(command, CloseSocket) for command in self.commands):
                break
        return self.events[before:]

    def respond(self, **response: object) -> list[RehearsalEvent]:
        """Request a response and wait for its end."""
        before = len(self.events)
        self.send("response.create", response=response)
        self.wait()
        return self.events[before:]

    def say(self, words: str) -> list[RehearsalEvent]:
        """Run a whole turn in text."""
        self.text(words)
        return self.respond(output_modalities=["text"])

    def close(self) -> None:
        self._carry_out(self.session.on_close())

    def answer(self, text: str | None) -> None:
        """Return ``text`` as the transcript of the oldest open utterance."""
        utterance = next(c.utterance for c in self.commands if isinstance(c, FinishRecognition))
        self._carry_out(self.session.transcription_finished(utterance, _heard(text), self.at))

    def speak(self, pcm: bytes | None) -> None:
        """Return ``pcm`` as the audio of the newest sentence."""
        order = [c for c in self.commands if isinstance(c, SynthesiseSpeech)][-1]
        self._carry_out(self.session.synthesis_finished(order.response_id, order.index, pcm, self.at))

    def _carry_out(self, commands: list[RehearsalCommand]) -> None:
        """Carry out commands; recogniser and synthesiser answer afterwards, as they do over pipes."""
        self.commands += commands
        answers: list[RehearsalCommand] = []
        for command in commands:
            match command:
                case SendServerEvent(event=event):
                    assert SERVER_EVENT.validate_python(event).type == event["type"]
                    self.events.append(event)
                case RecogniseAudio(pcm=pcm):
                    self.recognised_audio += pcm
                case ArchiveAudio(item_id=item_id, pcm=pcm):
                    self.kept[item_id] = self.kept.get(item_id, b"") + pcm
                case FinishRecognition(utterance=utterance) if self.answers:
                    answers += self.session.transcription_finished(utterance, _heard(next(self._transcripts)), self.at)
                case SynthesiseSpeech(response_id=response_id, index=index) if self.answers:
                    sound = sound_of(command.text) if self.synthesiser_works else None
                    answers += self.session.synthesis_finished(response_id, index, sound, self.at)
        if answers:
            self._carry_out(answers)

    @property
    def forgotten(self) -> list[str]:
        return [command.utterance for command in self.commands if isinstance(command, DiscardUtterance)]


def _heard(text: str | None) -> Transcript | None:
    return None if text is None else Transcript(text, LOGPROB)


def types(events: Iterable[RehearsalEvent]) -> list[str]:
    """The types of events in order; adjacent equal types once."""
    return [kind for kind, _ in itertools.groupby(event["type"] for event in events)]


def only(events: Iterable[RehearsalEvent], kind: str) -> RehearsalEvent:
    """The one event of that kind."""
    (found,) = [event for event in events if event["type"] == kind]
    return found


def error_of(events: Iterable[RehearsalEvent]) -> RehearsalEvent:
    found: RehearsalEvent = only(events, "error")["error"]
    return found


def done_of(events: Iterable[RehearsalEvent]) -> RehearsalEvent:
    """The `response` of the one `response.done`."""
    found: RehearsalEvent = only(events, "response.done")["response"]
    return found


def spoken_in(events: Iterable[RehearsalEvent]) -> bytes:
    """All audio of the deltas."""
    return b"".join(
        base64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"
    )


def words_in(events: Iterable[RehearsalEvent]) -> str:
    """All text of the deltas, spoken or written."""
    kinds = {"response.output_audio_transcript.delta", "response.output_text.delta"}
    return "".join(event["delta"] for event in events if event["type"] in kinds)
