"""The detector's scores of a caller, for clients that show them: a few events a second, none in silence."""

from typing import Final

from services.contracts.audio import FRAME_MS
from services.media.core.conversation import gateway_events

_STEP_FRAMES: Final = 2
_STEPS: Final = 5
_SILENCE: Final = 0.05
"""Scores below it are not worth an event."""


class ScoreReport:
    """Collects 200 ms of scores into an event; after one without speech, the next ones without are left out."""

    def __init__(self) -> None:
        self._scores: list[float] = []  # the highest of each step
        self._frames = 0
        self._next_index = 0
        self._told_silence = True

    def on_frame(self, index: int, probability: float) -> str | None:
        """Take in the score of a frame; return the event that is due."""
        if index != self._next_index:  # after a pause of the packets
            self._scores.clear()
            self._frames = 0
        self._next_index = index + 1
        if self._frames % _STEP_FRAMES:
            self._scores[-1] = max(self._scores[-1], probability)
        else:
            self._scores.append(probability)
        self._frames += 1
        if self._frames < _STEP_FRAMES * _STEPS:
            return None
        scores, self._scores, self._frames = self._scores, [], 0
        silence = max(scores) < _SILENCE
        if silence and self._told_silence:
            return None
        self._told_silence = silence
        at_ms = (index + 1 - _STEP_FRAMES * _STEPS) * FRAME_MS
        return gateway_events.gate_scores(at_ms=at_ms, step_ms=_STEP_FRAMES * FRAME_MS, scores=scores)
