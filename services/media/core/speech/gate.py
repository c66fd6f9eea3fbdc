"""The gate: which caller frames are sent upstream, and when an utterance begins and ends.

Input: frames with their speech probability; output: events. Frames before the onset are sent too (pre-roll). After
speech a short tail is sent; the rest of the hangover is held, and sent only if speech resumes.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.messages import CloseReason, OpenCause
from services.media.core.speech.turn_end import FrameHistory, Hangover, TurnEnd


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Gate thresholds, in 20 ms frames."""

    speech_probability: float = 0.5  # at or above this a frame counts as speech
    onset_frames: int = 3  # 60 ms of speech opens the gate
    barge_in_onset_frames: int = 6  # 120 ms while playout is active: a click must not stop the answer
    resume_frames: int = 1  # speech within the hangover that counts as going on
    hangover_frames: int = 25  # 500 ms of silence closes it
    pre_roll_frames: int = 10  # 200 ms from before the onset are sent too
    tail_frames: int = 8  # 160 ms after speech are sent at once, the rest of the hangover is held
    max_utterance_frames: int = 3000  # 60 s

    @property
    def hangover_s(self) -> float:
        """The hangover in seconds, by which the gate closes when packets stop."""
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
    """The turn has ended. ``index``: after the last frame sent. ``speech_end_index``: after the last frame of speech.

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

    ``sent_frames`` + ``gated_frames`` is the number of frames so far except the few that may yet be sent; both only
    rise, and after `hang_up` their sum is exact. ``turn_end`` decides when a turn ends; default: after the hangover.
    """

    def __init__(self, config: GateConfig, turn_end: TurnEnd | None = None) -> None:
        self._config = config
        self._turn_end = turn_end or Hangover(config.hangover_frames, config.max_utterance_frames)
        self._history = FrameHistory()
        self._idle: deque[tuple[PcmFrame, float]] = deque()  # may yet become pre-roll
        self._held: list[tuple[PcmFrame, float]] = []  # silence after the tail that may yet be sent
        self._run = 0  # consecutive frames of speech
        self._speech_end = 0
        self._speech_end_at = 0.0
        self._next_index = 0
        self._last_frame_at: float | None = None
        self.is_open = False
        self.sent_frames = 0
        self.gated_frames = 0

    def on_frame(
        self, frame: PcmFrame, *, probability: float, playing: bool = False, now: float = 0.0
    ) -> list[GateEvent]:
        """Gate the next frame. ``playing``: an answer is being played, so opening requires a longer onset."""
        self._last_frame_at = now
        self._run = self._run + 1 if probability >= self._config.speech_probability else 0
        if self.is_open:
            self._history.probability = probability
            return self._on_frame_open(frame, now)
        return self._on_frame_idle(frame, playing=playing, now=now)

    def on_timer(self, *, now: float) -> list[GateEvent]:
        """Close an open gate if no frame has come for the hangover: without packets the audio clock stops."""
        if self.is_open and self._last_frame_at is not None and now - self._last_frame_at >= self._config.hangover_s:
            return [self._close("no_packets", since_frame_s=now - self._last_frame_at)]
        return []

    def on_packets_lost(self) -> list[GateEvent]:
        """Close an open gate at once: the caller's connection is lost."""
        return [self._close("no_packets")] if self.is_open else []

    def hang_up(self) -> list[GateEvent]:
        """Close an open gate and count the frames still pending as gated: the call is over."""
        events: list[GateEvent] = [self._close("hangup")] if self.is_open else []
        self.gated_frames += len(self._idle)
        self._idle.clear()
        return events

    def _on_frame_idle(self, frame: PcmFrame, *, playing: bool, now: float) -> list[GateEvent]:
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
        self._history = FrameHistory()
        self._mark_speech(frames[-1][0], now)
        opened: list[GateEvent] = [GateOpened(frames[0][0].index, onset.index, onset_at)]
        return opened + [self._send(frame, pre_roll=frame.index < onset.index) for frame, _ in frames]

    def _on_frame_open(self, frame: PcmFrame, now: float) -> list[GateEvent]:
        events: list[GateEvent] = []
        if self._run >= self._config.resume_frames:
            if self._held:
                events += [self._send(held) for held, _ in self._held]
                self._held.clear()
            self._mark_speech(frame, now)
            events.append(self._send(frame))
        else:
            self._history.silence += 1
            if self._history.silence <= self._config.tail_frames:
                events.append(self._send(frame))
            else:
                self._held.append((frame, now))
        reason = self._turn_end.reason(self._history)
        if reason is not None:
            events.append(self._close(reason))
        return events

    def _mark_speech(self, frame: PcmFrame, now: float) -> None:
        self._history.silence = 0
        self._speech_end = frame.index + 1
        self._speech_end_at = now

    def _send(self, frame: PcmFrame, *, pre_roll: bool = False) -> Forward:
        self.sent_frames += 1
        self._history.sent += 1
        self._next_index = frame.index + 1
        return Forward(frame, pre_roll=pre_roll)

    def _close(self, reason: CloseReason, *, since_frame_s: float = 0.0) -> GateClosed:
        hangover_ms = self._history.silence * FRAME_MS + round(since_frame_s * 1000)
        self.is_open = False
        self._run = 0
        # Held frames were never sent, so they may become the pre-roll of speech that follows.
        self._idle.extend(self._held)
        self._held.clear()
        self._trim()
        return GateClosed(reason, self._next_index, self._speech_end, self._speech_end_at, hangover_ms)
