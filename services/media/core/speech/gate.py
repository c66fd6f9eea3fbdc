"""The gate: which caller frames are sent upstream, and when an utterance begins and ends.

Input: frames with their speech probability; output: events. Frames before the onset are sent too (pre-roll). After
speech a short tail is sent; the rest of the hangover is held, and sent only if speech resumes. In push to talk every
frame is sent, and there are no utterances.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.messages import CloseReason, OpenCause
from services.contracts.turn_detection import DetectsTurns
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
    automatic: bool = True  # False: push to talk
    interrupts: bool = True  # opening stops the answer that plays

    def with_turn_detection(self, detection: DetectsTurns) -> "GateConfig":
        """Return this configuration with the turn detection of a call."""
        hangover_frames = max(1, detection.silence_duration_ms // FRAME_MS)
        return replace(
            self,
            speech_probability=detection.threshold,
            hangover_frames=hangover_frames,
            tail_frames=min(self.tail_frames, hangover_frames),
            pre_roll_frames=detection.prefix_padding_ms // FRAME_MS,
            automatic=detection.automatic,
            interrupts=detection.interrupt_response,
        )

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
        self._given_turn_end = turn_end
        self._turn_end = turn_end or _hangover(config)
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
        self,
        frame: PcmFrame,
        *,
        probability: float,
        level_dbfs: float,  # noqa: ARG002 - no threshold for it yet
        playing: bool = False,
        now: float = 0.0,
    ) -> list[GateEvent]:
        """Gate the next frame. ``playing``: an answer is being played, so opening requires a longer onset.

        ``level_dbfs``: the level of the frame; infinite where it is unknown.
        """
        self._last_frame_at = now
        if not self._config.automatic:
            return [self._send(frame)]
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

    def configure(self, config: GateConfig) -> list[GateEvent]:
        """Use ``config`` from the next frame on. Push to talk closes an open gate, with what is held sent before."""
        events: list[GateEvent] = []
        if self._config.automatic and not config.automatic:
            if self.is_open:
                events += self._send_held()
                events.append(self._close("turn_detection"))
            self._discard_idle()
        self._config = config
        self._turn_end = self._given_turn_end or _hangover(config)
        return events

    def on_client_commit(self) -> list[GateEvent]:
        """Close an open gate: the client commits what was sent. Speech that goes on opens it again."""
        return [self._close("client_commit")] if self.is_open else []

    def on_client_clear(self) -> list[GateEvent]:
        """Close an open gate and discard what is held: the client wants nothing that was said so far."""
        events: list[GateEvent] = [self._close("client_clear")] if self.is_open else []
        self._discard_idle()
        return events

    def on_packets_lost(self) -> list[GateEvent]:
        """Close an open gate at once: the caller's connection is lost."""
        return [self._close("no_packets")] if self.is_open else []

    def hang_up(self) -> list[GateEvent]:
        """Close an open gate and count the frames still pending as gated: the call is over."""
        events: list[GateEvent] = [self._close("hangup")] if self.is_open else []
        self._discard_idle()
        return events

    def _discard_idle(self) -> None:
        self._run = 0
        self.gated_frames += len(self._idle)
        self._idle.clear()

    def _on_frame_idle(self, frame: PcmFrame, *, playing: bool, now: float) -> list[GateEvent]:
        if self._idle and self._idle[-1][0].index + 1 != frame.index:  # after a pause of the packets
            self.gated_frames += len(self._idle)
            self._idle.clear()
            self._run = min(self._run, 1)
        self._idle.append((frame, now))
        if self._run:
            barges_in = playing and self._config.interrupts
            needed = self._config.barge_in_onset_frames if barges_in else self._config.onset_frames
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
                events += self._send_held()
            self._mark_speech(frame, now)
            events.append(self._send(frame))
        else:
            self._history.silence += 1
            if self._history.silence <= self._config.tail_frames and not self._held:
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

    def _send_held(self) -> list[GateEvent]:
        sent: list[GateEvent] = [self._send(frame) for frame, _ in self._held]
        self._held.clear()
        return sent

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


def _hangover(config: GateConfig) -> TurnEnd:
    return Hangover(config.hangover_frames, config.max_utterance_frames)
