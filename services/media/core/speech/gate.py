"""The gate: which caller frames are sent upstream, and when an utterance begins and ends.

Input: frames with their speech probability and level; output: events. Frames before the onset are sent too (pre-roll).
After speech a short tail is sent; the rest of the hangover is held, and sent only if speech resumes. In push to talk
every frame is sent, and there are no utterances.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.messages import CloseReason, OpenCause
from services.media.core.speech.clocks import Clocks
from services.media.core.speech.gate_config import GateConfig
from services.media.core.speech.level_tracking import NoiseFloor, TalkerLevel
from services.media.core.speech.onset import Onset
from services.media.core.speech.turn_end import FrameHistory, Hangover, TurnEnd


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


@dataclass(frozen=True, slots=True)
class EagerEnded:
    """The turn has probably ended: the rest of the hangover is held. ``index``: after the last frame sent.

    ``silence_ms``: since ``speech_end_index``, after the last frame of speech. `GateClosed` or `TurnResumed` follows.
    """

    index: int
    speech_end_index: int
    silence_ms: int


@dataclass(frozen=True, slots=True)
class TurnResumed:
    """The turn goes on from ``index``: frames are sent again."""

    index: int


GateEvent = GateOpened | Forward | GateClosed | EagerEnded | TurnResumed


@dataclass(frozen=True, slots=True)
class JudgedOnset:
    """What the judge of barge-ins says, who alone opens the gate while an answer plays (`speech.barge_in`).

    ``frames``: since the sound in question began, up to the newest; 0: there is none.
    """

    frames: int = 0
    is_speech: bool = False


_NOISE_BELOW: Final = 0.1  # a frame with a lower score shows the level of the noise
_OVER_NOISE_DB: Final = 9.0  # a caller is so much louder than the noise
_TALKER_FROM: Final = 0.85  # a frame with this score shows the level of the caller
_LONGEST_ONSET: Final = 100  # of an onset that does not become certain: 2 s


@dataclass(slots=True, init=False)
class _Kept:
    """A frame that may yet be sent."""

    frame: Final[PcmFrame]
    at: Final[float]
    level_dbfs: Final[float]

    def __init__(self, frame: PcmFrame, at: float, level_dbfs: float) -> None:  # written out: made for every frame
        self.frame = frame
        self.at = at
        self.level_dbfs = level_dbfs


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
        self._noise = NoiseFloor()
        self._talker = TalkerLevel()
        self._onset = Onset(config)
        self._clocks = Clocks(config)
        self._idle: deque[_Kept] = deque()  # may yet become pre-roll
        self._held: list[_Kept] = []  # silence after the tail that may yet be sent
        self._has_paused = False  # long enough since the last speech for an eager end
        self._is_tentative = False  # neither closed nor resumed since
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
        level_dbfs: float,
        playing: bool = False,
        judged: JudgedOnset | None = None,
        now: float = 0.0,
    ) -> list[GateEvent]:
        """Gate the next frame. ``playing``: an answer is being played, so opening requires a longer onset.

        ``level_dbfs``: the level of the frame; infinite where it is unknown. ``judged``: None: nobody judges.
        """
        self._last_frame_at = now
        if not self._config.automatic:
            return [self._send(frame)]
        self._learn_levels(probability, level_dbfs)
        kept = _Kept(frame, now, level_dbfs)
        if self.is_open:
            self._history.probability = probability
            return self._on_frame_open(kept, probability)
        if judged is not None:
            return self._on_frame_judged(kept, probability, judged)
        return self._on_frame_idle(kept, probability, playing=playing)

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
        self._onset.configure(config)
        self._clocks.configure(config)
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
        self._onset.reset()
        self.gated_frames += len(self._idle)
        self._idle.clear()

    def _learn_levels(self, probability: float, level_dbfs: float) -> None:
        if math.isinf(level_dbfs):
            return
        if probability < _NOISE_BELOW:
            self._noise.on_noise(level_dbfs)
        elif probability >= _TALKER_FROM and self.is_open:
            self._talker.on_speech(level_dbfs)

    def _on_frame_judged(self, kept: _Kept, probability: float, judged: JudgedOnset) -> list[GateEvent]:
        self._keep_idle(kept, probability)
        if not judged.frames:
            self._onset.reset()  # an echo of the answer must not open the gate when that ends
        self._onset.frames = judged.frames
        if judged.is_speech:
            return self._open(kept)
        self._trim()
        return []

    def _keep_idle(self, kept: _Kept, probability: float) -> None:
        if self._idle and self._idle[-1].frame.index + 1 != kept.frame.index:  # after a pause of the packets
            self._discard_idle()
        self._idle.append(kept)
        self._onset.on_frame(probability, kept.level_dbfs, self._odds(kept.level_dbfs))

    def _odds(self, level_dbfs: float) -> float:
        """Return how much likelier a frame of this level is speech than its score says.

        Sound at the level of a known caller is; so long as none is known, sound is rather noise.
        """
        if math.isinf(level_dbfs):
            return 1.0
        if not self._talker.is_known:
            return self._config.stranger_odds
        least = max(self._talker.dbfs - self._config.hold_within_db, self._noise.dbfs + _OVER_NOISE_DB)
        return self._config.caller_odds if level_dbfs >= least else 1.0

    def _on_frame_idle(self, kept: _Kept, probability: float, *, playing: bool) -> list[GateEvent]:
        self._keep_idle(kept, probability)
        if self._onset.frames:
            barges_in = playing and self._config.interrupts
            needed = self._config.barge_in_onset_frames if barges_in else self._config.onset_frames
            if self._onset.opens(needed):
                return self._open(kept)
        self._trim()
        return []

    def _trim(self) -> None:
        most = (
            self._config.pre_roll_frames
            + self._config.audible_pre_roll_frames
            + min(self._onset.frames, _LONGEST_ONSET)
        )
        while len(self._idle) > most:
            self._idle.popleft()
            self.gated_frames += 1

    def _open(self, newest: _Kept) -> list[GateEvent]:
        self._trim()
        first = max(0, len(self._idle) - self._onset.frames)
        onset = self._idle[first]
        self._trim_pre_roll(first)
        frames = list(self._idle)
        self._idle.clear()
        self.is_open = True
        self._history = FrameHistory()
        self._talker.on_open(self._onset.loudest_dbfs)
        self._onset.reset()
        self._clocks.start()
        self._mark_speech(newest)
        opened: list[GateEvent] = [GateOpened(frames[0].frame.index, onset.frame.index, onset.at)]
        return opened + [self._send(kept.frame, pre_roll=kept.frame.index < onset.frame.index) for kept in frames]

    def _trim_pre_roll(self, onset: int) -> None:
        """Let the pre-roll begin where its level rises over the noise."""
        audible_dbfs = self._noise.dbfs + self._config.audible_db
        first = max(0, onset - self._config.pre_roll_frames)
        while first and audible_dbfs <= self._idle[first - 1].level_dbfs < math.inf:
            first -= 1
        for _ in range(first):
            self._idle.popleft()
            self.gated_frames += 1

    def _on_frame_open(self, kept: _Kept, probability: float) -> list[GateEvent]:
        events: list[GateEvent] = []
        if self._clocks.is_speech(probability, kept.level_dbfs, self._talker):
            self._onset.reset()
            self._mark_speech(kept)
            events += [*self._send_held(), self._send(kept.frame)]
        else:
            self._onset.on_frame(probability, kept.level_dbfs)  # of a quieter talker, who opens when this turn is over
            if self._clocks.is_doubtful(probability):
                events += [*self._send_held(), self._send(kept.frame)]
            elif not self._held and self._clocks.in_tail(kept.level_dbfs, self._noise):
                events.append(self._send(kept.frame))
            else:
                self._held.append(kept)
        self._history.silence = self._clocks.silence
        reason = self._turn_end.reason(self._history)
        if reason is not None:
            events.append(self._close(reason))
        elif self._held and not self._has_paused and 0 < self._config.eager_frames <= self._clocks.silence:
            self._has_paused = self._is_tentative = True
            events.append(EagerEnded(self._next_index, self._speech_end, self._clocks.silence * FRAME_MS))
        return events

    def _mark_speech(self, kept: _Kept) -> None:
        self._has_paused = False
        self._speech_end = kept.frame.index + 1
        self._speech_end_at = kept.at

    def _send_held(self) -> list[GateEvent]:
        resumed: list[GateEvent] = [TurnResumed(self._next_index)] if self._is_tentative else []
        self._is_tentative = False
        sent = [self._send(kept.frame) for kept in self._held]
        self._held.clear()
        return resumed + sent

    def _send(self, frame: PcmFrame, *, pre_roll: bool = False) -> Forward:
        self.sent_frames += 1
        self._history.sent += 1
        self._next_index = frame.index + 1
        return Forward(frame, pre_roll=pre_roll)

    def _close(self, reason: CloseReason, *, since_frame_s: float = 0.0) -> GateClosed:
        hangover_ms = self._history.silence * FRAME_MS + round(since_frame_s * 1000)
        self.is_open = self._is_tentative = False
        if reason != "speech_end":
            self._onset.reset()
        # Held frames were never sent, so they may become the pre-roll of speech that follows.
        self._idle.extend(self._held)
        self._held.clear()
        self._trim()
        return GateClosed(reason, self._next_index, self._speech_end, self._speech_end_at, hangover_ms)


def _hangover(config: GateConfig) -> TurnEnd:
    return Hangover(config.hangover_frames, config.max_utterance_frames)
