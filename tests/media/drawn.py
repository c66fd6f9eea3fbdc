"""A conversation driven by a drawing, one character a frame, and readers of its commands."""

import json
from typing import Any

import numpy as np

from services.contracts.audio import DOWN_FRAME_SAMPLES, UP_FRAME_BYTES, PcmFrame
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.grant import OwnEvent
from services.contracts.ids import Epoch, ItemId
from services.contracts.turn_detection import DetectsTurns
from services.media.core.commands import CallCommand, CountDropped, SendEvent, SendUp
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level import UNKNOWN_DBFS
from tests.media.uttered import hum, vowel

EPOCH = Epoch(7)
A, B = ItemId("item_a"), ItemId("item_b")
GATE = GateConfig(
    onset_frames=2,
    barge_in_onset_frames=3,
    hangover_frames=4,
    pre_roll_frames=2,
    tail_frames=1,
    audible_pre_roll_frames=0,
    resume_frames=1,
)
_SOUNDS = {"s": bytes(UP_FRAME_BYTES), ".": bytes(UP_FRAME_BYTES), "v": vowel(1)[0], "m": hum(1)[0]}


class Drawn:
    """A conversation whose caller is drawn: `s` is speech, `.` is not, `>` pulls a frame, `=` two at once.

    `v` is speech too and sounds like a vowel, `m` like a hum.
    """

    def __init__(
        self,
        *,
        events: tuple[OwnEvent, ...] = (),
        delay_ms: int = 0,
        max_seconds: int = 60,
        receives_audio: bool = True,
        turns: DetectsTurns | None = None,
        gate: GateConfig = GATE,
    ) -> None:
        config = ConversationConfig(
            EPOCH, max_seconds, gate, events, delay_ms, receives_audio=receives_audio, turns=turns
        )
        self.now = 100.0
        self.call = Conversation(config, now=self.now)
        self.index = 0
        self.sequence = 0

    def draw(self, drawing: str) -> list[CallCommand]:
        out: list[CallCommand] = []
        for letter in drawing:
            if letter in ">=":
                out += self.call.pull(1 + (letter == "="), now=self.now)[1]
            else:
                speech = float(letter != ".")
                frame = PcmFrame(self.index, _SOUNDS[letter])
                out += self.call.on_caller_frame(frame, probability=speech, level_dbfs=UNKNOWN_DBFS, now=self.now)
                self.index += 1
            self.now += 0.04 if letter == "=" else 0.02
        return out

    def frame(self, kind: Kind, position: int = 0, **fields: Any) -> list[CallCommand]:  # noqa: ANN401 - the frame's fields
        fields.setdefault("epoch", EPOCH)
        return self.call.on_worker_frame(Frame(kind, position=position, sent_unix_ms=0, **fields), now=self.now)

    def audio(self, item: ItemId, frames: int, *, position: int = 0, end: bool = True) -> list[CallCommand]:
        pcm = np.full(frames * DOWN_FRAME_SAMPLES, 1000, "<i2").tobytes()
        flags = Flag.ITEM_END if end else NO_FLAGS
        return self.frame(Kind.AUDIO_DOWN, position, item_id=item, flags=flags, payload=pcm)

    def half_a_frame(self, item: ItemId) -> Frame:
        return Frame(Kind.AUDIO_DOWN, EPOCH, 0, 0, item, payload=bytes(DOWN_FRAME_SAMPLES))

    def event(self, event: dict[str, Any], **fields: Any) -> list[CallCommand]:  # noqa: ANN401 - the frame's fields
        self.sequence += 1
        payload = encode_server_event(self.sequence, json.dumps(event).encode())
        return self.frame(Kind.SERVER_EVENT, payload=payload, **fields)

    def answering(self, frames: int = 100, *, end: bool = True) -> None:
        self.call.channel_opened()
        self.event({"type": "response.output_item.added", "response_id": "resp_a", "item": {"id": A}})
        self.audio(A, frames, end=end)


def kinds(commands: list[CallCommand]) -> list[Kind]:
    return [command.kind for command in commands if isinstance(command, SendUp)]


def ups(commands: list[CallCommand], kind: Kind) -> list[SendUp]:
    return [command for command in commands if isinstance(command, SendUp) and command.kind is kind]


def shown(commands: list[CallCommand]) -> list[dict[str, Any]]:
    return [json.loads(command.text) for command in commands if isinstance(command, SendEvent)]


def types(commands: list[CallCommand]) -> list[str]:
    return [event["type"] for event in shown(commands)]


def dropped(commands: list[CallCommand]) -> list[str]:
    return [command.reason for command in commands if isinstance(command, CountDropped)]
