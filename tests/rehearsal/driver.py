"""A client for the session machine: plays ear and mouth, moves the clock, checks every event against its type."""

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
from services.rehearsal.core.commands import Close, Command, Forget, Keep, Listen, Now, Send, Speak, Understand
from services.rehearsal.core.recordings import Recording
from services.rehearsal.core.session import Session, Terms

Event = dict[str, Any]

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
WALL = datetime(2026, 11, 25, 9, 5, tzinfo=UTC)
MS_PER_CHAR = 60


def tone(ms: int, level: float = 0.2) -> bytes:
    """A sound loud enough to count as speech."""
    samples = np.sin(np.arange(24 * ms) * 0.2) * 32767 * level
    return bytes(samples.astype("<i2").tobytes())


def silence(ms: int) -> bytes:
    return bytes(48 * ms)


def sound_of(text: str) -> bytes:
    """What this mouth makes of ``text``: 60 ms a character."""
    return tone(MS_PER_CHAR * len(text))


class Client:
    """Talks to a `Session`. ``hears``: what the ear says to each utterance, in turn; None: it fails."""

    def __init__(
        self,
        *,
        hears: Iterable[str | None] = (),
        voice: Answers = FULL,
        recordings: Sequence[Recording] = (),
        answers: bool = True,
        max_session_s: float = 3600,
    ) -> None:
        numbers = itertools.count(1)
        self.now = 100.0
        self.commands: list[Command] = []
        self.events: list[Event] = []
        self.heard = bytearray()
        self.kept: dict[str, bytes] = {}
        self.mouth_works = True
        self.answers = answers
        self._hears = iter(hears)
        new_id = lambda prefix: f"{prefix}_{next(numbers)}"  # noqa: E731 - a name for it would be longer
        self.session = Session(
            Terms(
                "gpt-realtime-2.1",
                answers=voice,
                recordings=recordings,
                new_id=new_id,
                max_session_s=max_session_s,
            ),
            self.at,
        )
        self._take(self.session.opened())

    @property
    def at(self) -> Now:
        return Now(self.now, WALL)

    def send(self, kind: str, **fields: object) -> list[Event]:
        """Send a client event; returns what came back at once, without pacing."""
        return self.send_raw(json.dumps({"type": kind, **fields}))

    def send_raw(self, text: str) -> list[Event]:
        before = len(self.events)
        self._take(self.session.received(text, self.at))
        return self.events[before:]

    def append(self, pcm: bytes) -> list[Event]:
        return self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def configure(self, **session: object) -> list[Event]:
        return self.send("session.update", session={"type": "realtime", **session})

    def manual(self, **audio_input: object) -> None:
        self.configure(audio={"input": {"turn_detection": None, **audio_input}})

    def text(self, words: str) -> list[Event]:
        content = [{"type": "input_text", "text": words}]
        return self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def wait(self, seconds: float = 600.0) -> list[Event]:
        """Let time pass, step by step, until nothing is due any more."""
        before, until = len(self.events), self.now + seconds
        while (due := self.session.next_due_s) <= until:
            self.now = max(self.now, due)
            self._take(self.session.tick(self.at))
            if any(isinstance(command, Close) for command in self.commands):
                break
        return self.events[before:]

    def respond(self, **response: object) -> list[Event]:
        """Ask for a response and wait for its end."""
        before = len(self.events)
        self.send("response.create", response=response)
        self.wait()
        return self.events[before:]

    def say(self, words: str) -> list[Event]:
        """A whole turn in text."""
        self.text(words)
        return self.respond(output_modalities=["text"])

    def close(self) -> None:
        self._take(self.session.closed())

    def answer(self, text: str | None) -> None:
        """The ear answers the oldest open utterance."""
        utterance = next(c.utterance for c in self.commands if isinstance(c, Understand))
        self._take(self.session.heard(utterance, text, self.at))

    def speak(self, pcm: bytes | None) -> None:
        """The mouth answers the newest sentence."""
        order = [c for c in self.commands if isinstance(c, Speak)][-1]
        self._take(self.session.said(order.response_id, order.index, pcm, self.at))

    def _take(self, commands: list[Command]) -> None:
        """Carry out; ear and mouth answer when that is done, as they do over pipes."""
        self.commands += commands
        answers: list[Command] = []
        for command in commands:
            match command:
                case Send(event=event):
                    assert SERVER_EVENT.validate_python(event).type == event["type"]
                    self.events.append(event)
                case Listen(pcm=pcm):
                    self.heard += pcm
                case Keep(item_id=item_id, pcm=pcm):
                    self.kept[item_id] = self.kept.get(item_id, b"") + pcm
                case Understand(utterance=utterance) if self.answers:
                    answers += self.session.heard(utterance, next(self._hears), self.at)
                case Speak(response_id=response_id, index=index) if self.answers:
                    sound = sound_of(command.text) if self.mouth_works else None
                    answers += self.session.said(response_id, index, sound, self.at)
        if answers:
            self._take(answers)

    @property
    def forgotten(self) -> list[str]:
        return [command.utterance for command in self.commands if isinstance(command, Forget)]


def types(events: Iterable[Event]) -> list[str]:
    """The kinds of events in order, neighbours of the same kind once."""
    return [kind for kind, _ in itertools.groupby(event["type"] for event in events)]


def only(events: Iterable[Event], kind: str) -> Event:
    """The one event of that kind."""
    (found,) = [event for event in events if event["type"] == kind]
    return found


def error_of(events: Iterable[Event]) -> Event:
    found: Event = only(events, "error")["error"]
    return found


def done_of(events: Iterable[Event]) -> Event:
    """The `response` of the one `response.done`."""
    found: Event = only(events, "response.done")["response"]
    return found


def spoken_in(events: Iterable[Event]) -> bytes:
    """All audio of the deltas."""
    return b"".join(
        base64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"
    )


def words_in(events: Iterable[Event]) -> str:
    """All words of the deltas, spoken or written."""
    kinds = {"response.output_audio_transcript.delta", "response.output_text.delta"}
    return "".join(event["delta"] for event in events if event["type"] in kinds)
