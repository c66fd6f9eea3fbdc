"""Holds the answer while it is judged whether the caller speaks over it, and lets it go on if not."""

from services.contracts.audio import FRAME_MS, PcmFrame
from services.media.core.commands import CallCommand, CountJudged, SendEvent
from services.media.core.conversation import gateway_events
from services.media.core.conversation.playout import Playout
from services.media.core.conversation.release import ReleaseQueue
from services.media.core.conversation.uplink import Uplink
from services.media.core.speech.barge_in import (
    BargeInConfig,
    BargeInJudge,
    CallerSpeaks,
    HoldAnswer,
    JudgedOutcome,
    ReleaseAnswer,
)
from services.media.core.speech.gate import JudgedOnset
from services.media.core.speech.gate_config import GateConfig

_NO_ONSET = JudgedOnset()
_WITHOUT_FRAMES_S = 0.1  # more than the most frames that a hold takes, by the clock: frames may stop coming


class AnswerHold:
    """One call's judgement of barge-ins, carried out on its playout. ``shown``: None: the client is not told of it."""

    def __init__(self, config: BargeInConfig, playout: Playout, shown: ReleaseQueue | None) -> None:
        self._shown = shown
        self._judge = BargeInJudge(config)
        self._playout = playout
        self._longest_s = config.max_hold_frames * FRAME_MS / 1000 + _WITHOUT_FRAMES_S
        self._judging = False
        self._held_at = 0.0
        self._silent_since: float | None = None
        self._probability = config.probability

    def on_played(self, pcm: bytes, *, now: float) -> None:
        """Record audio of an answer that is sent at ``now``: its echo may come back."""
        self._judge.on_played(pcm, now=now)

    def on_frame(
        self, frame: PcmFrame, up: Uplink, gate: GateConfig, probability: float, level_dbfs: float, *, now: float
    ) -> tuple[JudgedOnset | None, list[CallCommand]]:
        """Judge a frame of the caller; None: there is no answer that it could interrupt."""
        if up.is_open or not (self._playout.active and gate.automatic and gate.interrupts):
            self._judge.on_unjudged(frame, now=now)
            return None, self.stop(now=now) if self._judging else []
        self._judging = True
        judged = self._judge.on_frame(
            frame,
            is_speech=probability >= gate.shifted(self._probability),
            level_dbfs=level_dbfs,
            now=now,
        )
        if isinstance(judged, CallerSpeaks):
            self._silent_since = self._held_at if self._playout.is_held else None
            return JudgedOnset(frame.index + 1 - judged.onset_index, is_speech=True), self._release("speech", now)
        commands: list[CallCommand] = []
        if isinstance(judged, ReleaseAnswer):
            commands = self._release(judged.cause, now)
        elif isinstance(judged, HoldAnswer):
            self._held_at = now
            self._playout.hold()
            commands = self._show(gateway_events.answer_held(at_ms=frame.index * FRAME_MS))
        return self._onset(frame), commands

    def take_silent_since(self) -> float | None:
        """Return when the answer was held that speech has just stopped; None: it was not held before."""
        since, self._silent_since = self._silent_since, None
        return since

    def stop(self, *, now: float) -> list[CallCommand]:
        """Stop judging, as there is nothing to judge any more. A held answer may go on."""
        self._judging = False
        self._judge.reset()
        return self._release("stopped", now) if self._playout.is_held else []

    def on_timer(self, *, now: float) -> list[CallCommand]:
        """Let an answer go on for which no frames decide any more."""
        if not self._playout.is_held or now - self._held_at < self._longest_s:
            return []
        self._judge.reset()
        return self._release("timeout", now)

    def _onset(self, frame: PcmFrame) -> JudgedOnset:
        onset = self._judge.onset
        return JudgedOnset(frame.index + 1 - onset[0]) if onset else _NO_ONSET

    def _release(self, outcome: JudgedOutcome, now: float) -> list[CallCommand]:
        if not self._playout.is_held:
            return [CountJudged(outcome, None)]
        held_s = max(0.0, now - self._held_at)
        self._playout.release()
        resumed = gateway_events.answer_resumed(cause=outcome, held_ms=round(held_s * 1000))
        return [CountJudged(outcome, held_s), *([] if outcome == "speech" else self._show(resumed))]

    def _show(self, text: str) -> list[CallCommand]:
        return [SendEvent(text) for text in self._shown.send_now(text)] if self._shown else []
