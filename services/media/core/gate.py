"""The gate: which caller frames are worth sending upstream, and when a turn is over.

Frames and a detector's verdicts go in, events come out. Pre-roll gives the onset back, and the tail is deferred:
a little silence after speech is sent, the rest is held and sent only if speech resumes within the hangover.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.messages import CloseReason, OpenCause


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Gate thresholds, in 20 ms frames."""

    onset_frames: int = 3  # 60 ms of speech opens the gate
    barge_in_onset_frames: int = 6  # 120 ms while playout is active: a click must not kill the answer
    resume_frames: int = 1  # speech within the hangover that counts as going on
    hangover_frames: int = 25  # 500 ms of silence closes it
    pre_roll_frames: int = 10  # 200 ms from before the onset are sent too
    tail_frames: int = 8  # 160 ms after speech are sent at once, the rest of the hangover is held
    max_utterance_frames: int = 3000  # 60 s

    @property
    def hangover_s(self) -> float:
        """The hangover in seconds, for callers whose packets stop."""
        return self.hangover_frames * FRAME_MS / 1000


@dataclass(frozen=True, slots=True)
class GateOpened:
    """Speech began. ``index``: the first frame sent. ``onset_index``: the first frame of speech."""

    index: int
    onset_index: int
    onset_at: float
    cause: OpenCause = "speech"


@dataclass(slots=True, init=False)
class Forward:
    """Send this frame upstream."""

    frame: Final[PcmFrame]
    pre_roll: Final[bool]

    def __init__(self, frame: PcmFrame, *, pre_roll: bool = False) -> None:  # written out: made for every frame (ADR 9)
        self.frame = frame
        self.pre_roll = pre_roll


@dataclass(frozen=True, slots=True)
class GateClosed:
    """The turn is over. ``index``: after the last frame sent. ``speech_end_index``: after the last frame of speech.

    ``hangover_ms``: silence since then that the gate waited out.
    """

    reason: CloseReason
    index: int
    speech_end_index: int
    speech_end_at: float
    hangover_ms: int = 0


GateEvent = GateOpened | Forward | GateClosed


class VadGate:
    """One caller's gate.

    ``sent_frames`` + ``gated_frames`` is all that was pushed but the few frames that may yet be sent;
    both only ever rise, and after `hang_up` nothing is left between them.
    """

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._idle: deque[tuple[PcmFrame, float]] = deque()  # may yet become pre-roll
        self._held: list[tuple[PcmFrame, float]] = []  # silence after the tail that may yet be sent
        self._run = 0  # consecutive frames of speech
        self._silence = 0  # frames since the last speech that counted
        self._utterance = 0  # frames sent since the gate opened
        self._speech_end = 0
        self._speech_end_at = 0.0
        self._next_index = 0
        self._last_push: float | None = None
        self.is_open = False
        self.sent_frames = 0
        self.gated_frames = 0

    def push(self, frame: PcmFrame, *, speech: bool, playing: bool = False, now: float = 0.0) -> list[GateEvent]:
        """Take the next frame. ``playing``: an answer is being played, so that opening needs more."""
        self._last_push = now
        self._run = self._run + 1 if speech else 0
        if self.is_open:
            return self._push_open(frame, now)
        return self._push_idle(frame, playing=playing, now=now)

    def tick(self, *, now: float) -> list[GateEvent]:
        """Close an open gate whose caller's packets have stopped: the audio clock then stands still."""
        if self.is_open and self._last_push is not None and now - self._last_push >= self._config.hangover_s:
            return [self._close("no_packets", since_push_s=now - self._last_push)]
        return []

    def lost(self) -> list[GateEvent]:
        """The caller's packets have stopped for certain: close an open gate without waiting longer."""
        return [self._close("no_packets")] if self.is_open else []

    def hang_up(self) -> list[GateEvent]:
        """The call is over: close, and count what was still pending as gated."""
        events: list[GateEvent] = [self._close("hangup")] if self.is_open else []
        self.gated_frames += len(self._idle)
        self._idle.clear()
        return events

    def _push_idle(self, frame: PcmFrame, *, playing: bool, now: float) -> list[GateEvent]:
        if self._idle and self._idle[-1][0].index + 1 != frame.index:  # after a pause of the packets
            self.gated_frames += len(self._idle)
            self._idle.clear()
        self._idle.append((frame, now))
        if self._run:
            needed = self._config.barge_in_onset_frames if playing else self._config.onset_frames
            if self._run >= needed:
                return self._open(now)
        self._trim()
        return []

    def _trim(self) -> None:
        most = self._config.pre_roll_frames + self._run
        while len(self._idle) > most:
            self._idle.popleft()
            self.gated_frames += 1

    def _open(self, now: float) -> list[GateEvent]:
        self._trim()
        frames = list(self._idle)
        self._idle.clear()
        onset, onset_at = frames[len(frames) - self._run]
        self.is_open = True
        self._utterance = 0
        self._hear(frames[-1][0], now)
        opened: list[GateEvent] = [GateOpened(frames[0][0].index, onset.index, onset_at)]
        return opened + [self._send(frame, pre_roll=frame.index < onset.index) for frame, _ in frames]

    def _push_open(self, frame: PcmFrame, now: float) -> list[GateEvent]:
        events: list[GateEvent] = []
        if self._run >= self._config.resume_frames:
            if self._held:
                events += [self._send(held) for held, _ in self._held]
                self._held.clear()
            self._hear(frame, now)
            events.append(self._send(frame))
        else:
            self._silence += 1
            if self._silence <= self._config.tail_frames:
                events.append(self._send(frame))
            else:
                self._held.append((frame, now))
            if self._silence >= self._config.hangover_frames:
                events.append(self._close("speech_end"))
        if self.is_open and self._utterance >= self._config.max_utterance_frames:
            events.append(self._close("max_utterance"))
        return events

    def _hear(self, frame: PcmFrame, now: float) -> None:
        self._silence = 0
        self._speech_end = frame.index + 1
        self._speech_end_at = now

    def _send(self, frame: PcmFrame, *, pre_roll: bool = False) -> Forward:
        self.sent_frames += 1
        self._utterance += 1
        self._next_index = frame.index + 1
        return Forward(frame, pre_roll=pre_roll)

    def _close(self, reason: CloseReason, *, since_push_s: float = 0.0) -> GateClosed:
        hangover_ms = self._silence * FRAME_MS + round(since_push_s * 1000)
        self.is_open = False
        self._run = 0
        # What was held was never sent, so it may still be the pre-roll of speech that follows at once.
        self._idle.extend(self._held)
        self._held.clear()
        self._trim()
        return GateClosed(reason, self._next_index, self._speech_end, self._speech_end_at, hangover_ms)
