"""Whatever was requested ahead and taken back: the client and the conversation are as without it."""

import re
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.turn_detection import TurnTerms
from services.upstream.core.commands import (
    BookUsage,
    PublishAudio,
    PublishEvent,
    SessionCommand,
)
from tests.upstream.conversation_provider import ConversationProvider
from tests.upstream.drive import EAGER, Drive, Json, core_of

_IDS = re.compile(r"\b(?:item|resp|call|conv|event)_\w+")
_TRANSCRIBES: Json = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}


@dataclass(frozen=True)
class SpeechThenPause:
    """Speech of so many frames, then a pause in which so much arrives from the provider."""

    frames: int
    generated: int
    delivered: int
    later: int  # delivered when the caller speaks again
    is_lost: bool  # the frame that says so
    creates_item: bool  # the client, during the pause


@dataclass
class EagerRun:
    """A call with or without eager ends."""

    eager: bool
    drive: Drive = field(init=False)
    provider: ConversationProvider = field(init=False)

    def __post_init__(self) -> None:
        terms = EAGER if self.eager else TurnTerms()
        self.drive = Drive(core_of(_TRANSCRIBES, turn_terms=terms)).ready()
        self.provider = ConversationProvider(self.drive)

    def carry(self, commands: list[SessionCommand]) -> None:
        self.provider.on_commands(commands)

    def turn(self, segments: list[SpeechThenPause]) -> None:
        self.carry(self.drive.start())
        for number, segment in enumerate(segments):
            is_last = number == len(segments) - 1
            self.carry(self.drive.speak(segment.frames))
            if self.eager:
                self.provider.deliver(segment.later)
                self.carry(self.drive.pause())
                self.provider.generate(segment.generated)
                self.provider.deliver(segment.delivered)
                if not segment.is_lost and not is_last:
                    self.carry(self.drive.resume())
            if is_last:
                self.carry(self.drive.stop())
                self.settle()
                if segment.creates_item:
                    self.create_item()

    def create_item(self) -> None:
        content: Json = {"type": "input_text", "text": "by the way"}
        item: Json = {"type": "message", "role": "user", "content": [content]}
        assert self.drive.core.takes_client_events
        self.carry(self.drive.client("conversation.item.create", item=item))
        self.settle()

    def settle(self) -> None:
        """Let everything that is in progress come to its end, and be heard."""
        for _ in range(4):
            self.provider.generate(100)
            self.provider.deliver()
            self.carry(self.drive.advance(0.1))
        for item_id in {audio.item_id for audio in self.drive.audio}:
            self.carry(self.drive.report(item_id, ms=300))

    @property
    def client_saw(self) -> list[object]:
        """All that media was sent, with ids by their first appearance and without times."""
        names: dict[str, str] = {}

        def named(found: re.Match[str]) -> str:
            return names.setdefault(found[0], f"id{len(names)}")

        seen: list[object] = []
        for command in self.drive.commands:
            if isinstance(command, PublishEvent):
                event = {name: value for name, value in command.event.items() if name != "event_id"}
                shown = _IDS.sub(named, repr((event, command.item_id)))
                seen.append((command.sequence, shown, command.position, command.flags))
            elif isinstance(command, PublishAudio):
                seen.append((_IDS.sub(named, command.item_id), command.position, len(command.pcm), command.end))
        return seen


SEGMENTS = st.lists(
    st.builds(
        SpeechThenPause,
        frames=st.integers(5, 12),
        generated=st.integers(0, 16),
        delivered=st.integers(0, 30),
        later=st.integers(0, 30),
        is_lost=st.booleans(),
        creates_item=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=150)
@given(turns=st.lists(SEGMENTS, min_size=1, max_size=3))
def test_the_client_and_the_conversation_are_as_without_eager_ends(turns: list[list[SpeechThenPause]]) -> None:
    plain, eager = EagerRun(eager=False), EagerRun(eager=True)
    for segments in turns:
        plain.turn(segments)
        eager.turn(segments)
    assert eager.client_saw == plain.client_saw
    assert contents(eager) == contents(plain)
    assert eager.provider.buffer == plain.provider.buffer
    assert not eager.provider.active


@settings(deadline=None, max_examples=50)
@given(segments=SEGMENTS)
def test_every_response_that_was_begun_is_booked_once(segments: list[SpeechThenPause]) -> None:
    run = EagerRun(eager=True)
    run.turn(segments)
    booked = [c.provider_ref for c in run.drive.commands if isinstance(c, BookUsage) and "resp_" in c.provider_ref]
    assert len(set(booked)) == len(booked) == len(run.provider.responses)
    wasted = [ref for ref in booked if ref.startswith("taken_back:")]
    assert len(booked) - len(wasted) == 1


def contents(run: EagerRun) -> list[Json]:
    return [{name: value for name, value in item.items() if name != "id"} for item in run.provider.items.values()]
