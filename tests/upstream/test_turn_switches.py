"""Properties of turn detection across media and upstream: their cores, joined by wires on which frames take time.

The caller's frames carry their index, so that what the provider got can be compared with what was said.
"""

import json
from collections import Counter, deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.contracts.frame import Frame, Kind, encode_server_event
from services.contracts.grant import Grant
from services.contracts.ids import Epoch, SessionId, TenantId
from services.contracts.messages import TurnDetection, UtteranceEnd, expect
from services.media.core.commands import CallCommand, SendEvent, SendUp
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.commands import (
    AppendAudio,
    ApplyTurnDetection,
    PublishEvent,
    SendToProvider,
    SessionCommand,
)
from services.upstream.core.session import SessionCore

EPOCH = Epoch(1)
GATE = GateConfig(
    onset_frames=2,
    barge_in_onset_frames=3,
    hangover_frames=25,
    pre_roll_frames=10,
    tail_frames=3,
    audible_pre_roll_frames=0,
)
DETECTIONS: list[dict[str, Any] | None] = [
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "silence_duration_ms": 100, "prefix_padding_ms": 0},
    {"type": "server_vad", "silence_duration_ms": 300, "interrupt_response": False},
    {"type": "semantic_vad", "eagerness": "high", "create_response": False},
]


class Switches(RuleBasedStateMachine):
    """A caller who speaks and is silent, and a client that switches, commits and clears, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        grant = Grant(tenant=TenantId("acme"), session={})
        self.core = SessionCore(
            session_id=SessionId("sess_1"), grant=grant, model="m", expires_at=1, capabilities=CAPABILITIES
        )
        self.media = Conversation(ConversationConfig(EPOCH, 3600, GATE), now=self.now)
        self.up: deque[SendUp] = deque()
        self.down: deque[Frame] = deque()
        self.index = 0
        self.buffer: list[int] = []  # the provider's: indexes of frames
        self.commits: list[list[int]] = []
        self.appended: list[int] = []
        self.events: list[dict[str, Any]] = []
        self.updates = 0  # that the client has sent and not seen confirmed
        self.push_to_talk = False  # as the client knows
        self.since = 0  # the first frame that its next commit must have
        self.expected: deque[list[int]] = deque()  # of its commits in push to talk
        self.on_media(self.media.channel_opened())
        self.on_core(self.core.started(now=self.now))
        self.on_core(self.core.provider_opened(now=self.now))
        self.arrive(up=99, down=99)

    # --- the wires

    def on_media(self, commands: list[CallCommand]) -> None:
        for command in commands:
            if isinstance(command, SendUp):
                self.up.append(command)
            elif isinstance(command, SendEvent):
                self.on_event(json.loads(command.text))

    def on_core(self, commands: list[SessionCommand]) -> None:
        for command in commands:
            match command:
                case PublishEvent():
                    payload = encode_server_event(command.sequence, json.dumps(command.event).encode())
                    frame = Frame(
                        Kind.SERVER_EVENT, EPOCH, command.position, 0, command.item_id, command.flags, payload
                    )
                    self.down.append(frame)
                case ApplyTurnDetection():
                    payload = TurnDetection(**command.detection.model_dump()).encode()
                    self.down.append(Frame(Kind.TURN_DETECTION, EPOCH, command.number, 0, payload=payload))
                case AppendAudio():
                    pieces = [command.pcm[at : at + 4] for at in range(0, len(command.pcm), UP_FRAME_BYTES)]
                    frames = [int.from_bytes(piece, "little") for piece in pieces]
                    self.buffer += frames
                    self.appended += frames
                case SendToProvider():
                    self.on_provider(command.event)
                case _:
                    pass

    def on_provider(self, event: dict[str, Any]) -> None:
        if event["type"] == "input_audio_buffer.commit":
            self.commits.append(self.buffer)
            self.buffer = []
        elif event["type"] == "input_audio_buffer.clear":
            self.buffer = []
            self.on_core(self.core.on_provider_event({"type": "input_audio_buffer.cleared"}, now=self.now))
        elif event["type"] == "session.update":
            confirmed = {"type": "session.updated", "session": event["session"]}
            self.on_core(self.core.on_provider_event(confirmed, now=self.now))

    def on_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["type"] == "session.updated":
            self.updates -= 1
            turns = event["session"]["audio"]["input"]["turn_detection"]
            if not self.updates and turns is None and not self.push_to_talk:
                self.push_to_talk = True
                self.since = self.index

    @rule(up=st.integers(0, 40), down=st.integers(0, 10))
    def arrive(self, up: int, down: int) -> None:
        for _ in range(min(up, len(self.up))):
            self.at_core(self.up.popleft())
        for _ in range(min(down, len(self.down))):
            self.on_media(self.media.on_worker_frame(self.down.popleft(), now=self.now))

    def at_core(self, frame: SendUp) -> None:
        match frame.kind:
            case Kind.AUDIO_UP:
                self.on_core(self.core.audio_up(frame.payload, now=self.now))
            case Kind.UTTERANCE_START:
                self.on_core(self.core.utterance_started(frame.position, now=self.now))
            case Kind.UTTERANCE_END:
                end = expect(UtteranceEnd, frame.payload)
                self.on_core(self.core.utterance_ended(frame.position, reason=end.reason, now=self.now))
            case Kind.CLIENT_EVENT:
                before = len(self.commits)
                event = json.loads(frame.payload)
                self.on_core(self.core.on_client_event(event, now=self.now))
                if event["type"] == "input_audio_buffer.commit" and self.expected:
                    self.check(self.expected.popleft(), committed=len(self.commits) > before)
            case _:
                pass

    def check(self, said: list[int], *, committed: bool) -> None:
        if said and said[0] >= 0:
            assert committed or len(said) < 5
            if committed:
                assert set(said) <= set(self.commits[-1])

    # --- the caller and the client

    @rule(drawing=st.text("s.", min_size=1, max_size=12), times=st.integers(1, 5))
    def speaks(self, drawing: str, times: int) -> None:
        for letter in drawing * times:
            pcm = self.index.to_bytes(4, "little") + bytes(UP_FRAME_BYTES - 4)
            frame = PcmFrame(self.index, pcm)
            self.index += 1
            self.now += 0.02
            speech = float(letter == "s")
            self.on_media(self.media.on_caller_frame(frame, probability=speech, level_dbfs=UNKNOWN_DBFS, now=self.now))

    def say(self, **event: object) -> None:
        self.on_media(self.media.on_client_message(json.dumps(event), now=self.now))

    @rule(turns=st.sampled_from(DETECTIONS))
    def updates_the_session(self, turns: dict[str, Any] | None) -> None:
        self.updates += 1
        self.push_to_talk = False
        self.say(type="session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": turns}}})

    @rule()
    def commits_the_buffer(self) -> None:
        self.expected.append(list(range(self.since, self.index)) if self.push_to_talk else [])
        self.since = self.index
        self.say(type="input_audio_buffer.commit")

    @rule()
    def clears_the_buffer(self) -> None:
        self.since = self.index
        self.say(type="input_audio_buffer.clear")

    @rule()
    @precondition(lambda self: not self.push_to_talk)
    def takes_turns_by_itself(self) -> None:
        self.updates_the_session(turns=None)
        self.arrive(up=10_000, down=10_000)

    @rule()
    @precondition(lambda self: self.push_to_talk)
    def speaks_softly_and_commits(self) -> None:
        self.speaks(drawing=".", times=5)
        self.commits_the_buffer()

    @rule()
    def packets_stop(self) -> None:
        self.now += 0.6
        self.on_media(self.media.on_timer(now=self.now))

    # --- always

    @invariant()
    def every_start_of_speech_is_followed_by_its_own_end(self) -> None:
        speech = [e for e in self.events if e["type"].startswith("input_audio_buffer.speech_")]
        for start, end in zip(speech[::2], speech[1::2], strict=False):
            assert (start["type"], end["type"]) == (
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
            )
            assert start["item_id"] == end["item_id"]
            assert start["audio_start_ms"] <= end["audio_end_ms"]

    @invariant()
    def an_item_is_committed_once_and_ids_of_utterances_differ(self) -> None:
        for kind in ("committed", "speech_started"):
            ids = Counter(e["item_id"] for e in self.events if e["type"] == f"input_audio_buffer.{kind}")
            assert set(ids.values()) <= {1}

    @invariant()
    def no_frame_is_sent_twice_or_out_of_order(self) -> None:
        assert self.appended == sorted(set(self.appended))

    def teardown(self) -> None:
        """Let everything arrive: each utterance that is over for media is over for the client."""
        self.updates_the_session(None)
        for _ in range(3):
            self.arrive(up=10_000, down=10_000)
        speech = [e["type"] for e in self.events if e["type"].startswith("input_audio_buffer.speech_")]
        assert len(speech) % 2 == 0


Switches.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestSwitches = Switches.TestCase
