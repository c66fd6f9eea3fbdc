"""The way up: the gate's decisions as frames for the worker."""

from dataclasses import dataclass

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.frame import NO_FLAGS, Flag, Kind
from services.contracts.messages import UtteranceEnd, UtteranceStart
from services.media.core.commands import Command, SendUp
from services.media.core.gate import Forward, GateClosed, GateConfig, GateEvent, GateOpened, VadGate

MAX_BATCH_FRAMES = 2
"""40 ms: more would add delay, fewer doubles the messages."""


@dataclass(frozen=True, slots=True)
class GateMoved:
    """The gate opened or closed; what it says goes up right after this."""

    event: GateOpened | GateClosed


class Uplink:
    """One caller's gate and what leaves it, at most two frames to a message."""

    def __init__(self, config: GateConfig) -> None:
        self._gate = VadGate(config)
        self._batch: list[PcmFrame] = []
        self._flags = NO_FLAGS
        self.next_index = 0

    @property
    def sent_ms(self) -> int:
        """Audio that the gate let through."""
        return self._gate.sent_frames * FRAME_MS

    @property
    def gated_ms(self) -> int:
        """Audio that it withheld."""
        return self._gate.gated_frames * FRAME_MS

    def push(self, frame: PcmFrame, *, speech: bool, playing: bool, now: float) -> list[GateMoved | Command]:
        """Take a caller's frame."""
        self.next_index = frame.index + 1
        return self._carry(self._gate.push(frame, speech=speech, playing=playing, now=now))

    def tick(self, *, now: float) -> list[GateMoved | Command]:
        """Time passes, also without packets."""
        return self._carry(self._gate.tick(now=now))

    def hang_up(self) -> list[GateMoved | Command]:
        """The call is over."""
        return self._carry(self._gate.hang_up())

    def flush(self) -> list[Command]:
        """Send what waits for company: something that must not overtake it follows."""
        if not self._batch:
            return []
        payload = b"".join(frame.pcm for frame in self._batch)
        command = SendUp(Kind.AUDIO_UP, self._batch[0].index, payload, flags=self._flags)
        self._batch.clear()
        return [command]

    def _carry(self, events: list[GateEvent]) -> list[GateMoved | Command]:
        out: list[GateMoved | Command] = []
        for event in events:
            match event:
                case GateOpened():
                    start = UtteranceStart(cause=event.cause, onset_index=event.onset_index)
                    out += [GateMoved(event), SendUp(Kind.UTTERANCE_START, event.index, start.encode())]
                case Forward():
                    out += self._append(event.frame, Flag.PRE_ROLL if event.pre_roll else NO_FLAGS)
                case _:
                    end = UtteranceEnd(reason=event.reason, speech_end_index=event.speech_end_index)
                    out += self.flush()
                    out += [SendUp(Kind.UTTERANCE_END, event.index, end.encode()), GateMoved(event)]
        return out

    def _append(self, frame: PcmFrame, flags: Flag) -> list[Command]:
        out: list[Command] = []
        if self._batch and (flags != self._flags or frame.index != self._batch[-1].index + 1):
            out += self.flush()
        self._batch.append(frame)
        self._flags = flags
        if len(self._batch) == MAX_BATCH_FRAMES:
            out += self.flush()
        return out
