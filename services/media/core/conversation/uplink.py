"""The uplink: turns the gate's events into frames for the worker."""

from dataclasses import dataclass

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.messages import EagerEnd, UtteranceEnd, UtteranceStart
from services.media.core.commands import CallCommand, SendUp
from services.media.core.speech.gate import (
    EagerEnded,
    Forward,
    GateClosed,
    GateEvent,
    GateOpened,
    JudgedOnset,
    TurnResumed,
    VadGate,
)
from services.media.core.speech.gate_config import GateConfig

MAX_BATCH_FRAMES = 2
"""40 ms: more would add delay, fewer would double the messages."""


@dataclass(frozen=True, slots=True)
class GateMoved:
    """The gate opened or closed; its frame for the worker follows."""

    event: GateOpened | GateClosed


class Uplink:
    """One caller's gate and the frames that it sends, at most two in a message."""

    def __init__(self, config: GateConfig) -> None:
        self._gate = VadGate(config)
        self._batch: list[bytes] = []
        self._batch_index = 0  # of its first frame
        self._flags = NO_FLAGS
        self.next_index = 0

    @property
    def sent_ms(self) -> int:
        """Audio that the gate sent, in ms."""
        return self._gate.sent_frames * FRAME_MS

    @property
    def gated_ms(self) -> int:
        """Audio that the gate withheld, in ms."""
        return self._gate.gated_frames * FRAME_MS

    @property
    def is_open(self) -> bool:
        """Whether an utterance is being sent."""
        return self._gate.is_open

    def on_frame(
        self,
        frame: PcmFrame,
        *,
        probability: float,
        level_dbfs: float,
        playing: bool,
        judged: JudgedOnset | None,
        now: float,
    ) -> list[GateMoved | CallCommand]:
        """Gate a frame of the caller. ``judged``: what the judge of barge-ins says of it, if it does."""
        self.next_index = frame.index + 1
        events = self._gate.on_frame(
            frame, probability=probability, level_dbfs=level_dbfs, playing=playing, judged=judged, now=now
        )
        return self._carry(events) if events else []

    def on_timer(self, *, now: float) -> list[GateMoved | CallCommand]:
        """Close the gate if packets have stopped, as of ``now``."""
        return self._carry(self._gate.on_timer(now=now))

    def configure(self, config: GateConfig) -> list[GateMoved | CallCommand]:
        """Use ``config`` from the next frame on."""
        return [*self._flush(), *self._carry(self._gate.configure(config))]

    def before_client_event(self, kind: str) -> list[GateMoved | CallCommand]:
        """Send what must not be overtaken by a client event of type ``kind``, and end the utterance if it does."""
        moved: list[GateMoved | CallCommand] = []
        if kind == "input_audio_buffer.commit":
            moved = self._carry(self._gate.on_client_commit())
        elif kind == "input_audio_buffer.clear":
            moved = self._carry(self._gate.on_client_clear())
        return [*moved, *self._flush()]

    def on_packets_lost(self) -> list[GateMoved | CallCommand]:
        """Close the gate: the caller's connection is lost."""
        return self._carry(self._gate.on_packets_lost())

    def hang_up(self) -> list[GateMoved | CallCommand]:
        """Close the gate: the call has ended."""
        return self._carry(self._gate.hang_up())

    def _flush(self) -> list[SendUp]:
        """Send a pending single frame now."""
        if not self._batch:
            return []
        command = SendUp(Kind.AUDIO_UP, self._batch_index, b"".join(self._batch), flags=self._flags)
        self._batch.clear()
        return [command]

    def _carry(self, events: list[GateEvent]) -> list[GateMoved | CallCommand]:
        out: list[GateMoved | CallCommand] = []
        for event in events:
            match event:
                case Forward():
                    out += self._append(event.frame, Flag.PRE_ROLL if event.pre_roll else NO_FLAGS)
                case GateOpened():
                    start = UtteranceStart(cause=event.cause, onset_index=event.onset_index)
                    out += [GateMoved(event), SendUp(Kind.UTTERANCE_START, event.index, start.encode())]
                case EagerEnded():
                    ended = EagerEnd(speech_end_index=event.speech_end_index, silence_ms=event.silence_ms)
                    out += [*self._flush(), SendUp(Kind.EAGER_END, event.index, ended.encode())]
                case TurnResumed():
                    out.append(SendUp(Kind.TURN_RESUMED, event.index))
                case _:
                    end = UtteranceEnd(
                        reason=event.reason,
                        speech_end_index=event.speech_end_index,
                        hangover_ms=event.hangover_ms,
                    )
                    out += self._flush()
                    out += [SendUp(Kind.UTTERANCE_END, event.index, end.encode()), GateMoved(event)]
        return out

    def _append(self, frame: PcmFrame, flags: Flag) -> list[SendUp]:
        batch = self._batch
        if batch and flags == self._flags and frame.index == self._batch_index + len(batch):
            batch.append(frame.pcm)
            return self._flush() if len(batch) == MAX_BATCH_FRAMES else []
        out = self._flush()
        self._batch_index = frame.index
        self._flags = flags
        batch.append(frame.pcm)
        return out
