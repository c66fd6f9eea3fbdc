"""Turn end detection: whether a silent caller has finished."""

from dataclasses import dataclass
from typing import Literal, Protocol

TurnEndReason = Literal["speech_end", "max_utterance"]


@dataclass(slots=True)
class FrameHistory:
    """Counts of 20 ms frames since the utterance began."""

    sent: int = 0
    """Frames sent upstream, pre-roll included."""
    silence: int = 0
    """Frames since the last speech that counted."""
    probability: float = 0.0
    """Speech probability of the newest frame."""


class TurnEnd(Protocol):
    """Decides after each frame of an utterance whether the turn has ended."""

    def reason(self, history: FrameHistory) -> TurnEndReason | None:
        """Return why the turn has ended; None: it continues."""


@dataclass(frozen=True, slots=True)
class Hangover:
    """Ends a turn after a fixed silence, or when the utterance has reached its maximum length."""

    silence_frames: int
    max_utterance_frames: int

    def reason(self, history: FrameHistory) -> TurnEndReason | None:
        """Return why the turn has ended; None: it continues."""
        if history.silence >= self.silence_frames:
            return "speech_end"
        return "max_utterance" if history.sent >= self.max_utterance_frames else None
