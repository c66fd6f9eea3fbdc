"""How a session answers speech, and which session gets a recogniser: their number is limited."""

from dataclasses import dataclass
from typing import Literal

AnswersName = Literal["full", "light", "echo"]
LightReason = Literal["chosen", "sessions", "recogniser"]
"""Why speech is answered by a recording: the setting, too many sessions, or the recogniser was late or lost."""

SESSIONS_PER_RECOGNISER = 4
"""Measured: see docs/rehearsal.md."""

PAUSED_ABOVE = 2
"""The recognisers pause while more than this multiple of `capacity` sessions is open: a load test needs the CPU."""

_NO_RECOGNISER = "Input transcription failed: the rehearsal has no recogniser"
_BUSY = (
    "Input transcription failed: the rehearsal is busy, its recogniser does not keep up with the calls. "
    "Speech is answered with recorded answers."
)


@dataclass(frozen=True, slots=True)
class Answers:
    """One of the three ways to answer. ``failure``, ``code``: the error for a client that requests transcription.

    ``reason``: why a recording is given, where one is.
    """

    name: AnswersName
    failure: str
    reason: LightReason
    code: Literal["transcription_failed", "rehearsal_busy"] = "transcription_failed"

    @property
    def recognises_speech(self) -> bool:
        """Whether speech is recognised."""
        return self.name == "full"

    @property
    def echoes(self) -> bool:
        """Whether speech is answered with its own audio."""
        return self.name == "echo"


FULL = Answers("full", _BUSY, "recogniser", "rehearsal_busy")
ECHO = Answers("echo", f"{_NO_RECOGNISER} (REHEARSAL_VOICE=echo), and answers with your own voice.", "chosen")
LIGHT = Answers("light", f"{_NO_RECOGNISER} (REHEARSAL_VOICE=light), and answers with recorded answers.", "chosen")
LIGHT_WHILE_BUSY = Answers("light", _BUSY, "sessions", "rehearsal_busy")

_CHOSEN = {"full": FULL, "light": LIGHT, "echo": ECHO}


class SessionLimit:
    """Assigns each new session its way to answer. ``capacity``: sessions with recognition at the same time."""

    def __init__(self, chosen: AnswersName, *, capacity: int) -> None:
        self._chosen = chosen
        self.capacity = capacity
        self._open = dict.fromkeys(_CHOSEN, 0)
        self.is_exceeded = False
        """Whether more sessions are open than the recognisers serve: some get recorded answers."""

    @property
    def is_paused(self) -> bool:
        """Whether more than `PAUSED_ABOVE` times `capacity` sessions are open: then no speech is recognised."""
        return self._open["light"] + self._open["full"] > PAUSED_ABOVE * self.capacity and self.is_exceeded

    def opened(self) -> Answers:
        """Count a session and return its way to answer, which it keeps. Call `closed` when it ends."""
        answers = _CHOSEN[self._chosen]
        if answers.recognises_speech and self._open["full"] >= self.capacity:
            answers = LIGHT_WHILE_BUSY
            self.is_exceeded = True
        self._open[answers.name] += 1
        return answers

    def closed(self, answers: Answers) -> None:
        """Stop counting a session that got ``answers``."""
        self._open[answers.name] -= 1
        self.is_exceeded = self.is_exceeded and self._open["light"] > 0
