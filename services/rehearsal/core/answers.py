"""How a session answers speech, and which session gets which way: a recogniser serves so many at a time, no more."""

from dataclasses import dataclass
from typing import Literal

AnswersName = Literal["full", "light", "echo"]
LightReason = Literal["chosen", "sessions", "recogniser"]
"""Why speech is answered by a recording: the setting, too many sessions, or the recogniser was late or lost."""

SESSIONS_PER_EAR = 4
"""Measured: see docs/rehearsal.md."""

_NO_EAR = "Input transcription failed: the rehearsal has no recogniser"
_BUSY = (
    "Input transcription failed: the rehearsal is busy, its recogniser does not keep up with the calls. "
    "Speech is answered with recorded answers."
)


@dataclass(frozen=True, slots=True)
class Answers:
    """One of the three ways. ``failure``, ``code``: what a client is told that wants to see what was said.

    ``reason``: why a recording is given, where one is.
    """

    name: AnswersName
    failure: str
    reason: LightReason
    code: Literal["transcription_failed", "rehearsal_busy"] = "transcription_failed"

    @property
    def has_ear(self) -> bool:
        """Speech is recognised."""
        return self.name == "full"

    @property
    def echoes(self) -> bool:
        """Speech is answered with its own sound."""
        return self.name == "echo"


FULL = Answers("full", _BUSY, "recogniser", "rehearsal_busy")
ECHO = Answers("echo", f"{_NO_EAR} (REHEARSAL_VOICE=echo), and answers with your own voice.", "chosen")
LIGHT = Answers("light", f"{_NO_EAR} (REHEARSAL_VOICE=light), and answers with recorded answers.", "chosen")
LIGHT_WHILE_BUSY = Answers("light", _BUSY, "sessions", "rehearsal_busy")

_CHOSEN = {"full": FULL, "light": LIGHT, "echo": ECHO}


class SessionLimit:
    """Gives each new session its way to answer. ``capacity``: sessions at a time whose speech is recognised."""

    def __init__(self, chosen: AnswersName, *, capacity: int) -> None:
        self._chosen = chosen
        self.capacity = capacity
        self._open = dict.fromkeys(_CHOSEN, 0)
        self.is_exceeded = False
        """More sessions are open than the recogniser serves: some get recorded answers."""

    def opened(self) -> Answers:
        """A session opens; it keeps what it gets. Tell `closed` when it ends."""
        answers = _CHOSEN[self._chosen]
        if answers.has_ear and self._open["full"] >= self.capacity:
            answers = LIGHT_WHILE_BUSY
            self.is_exceeded = True
        self._open[answers.name] += 1
        return answers

    def closed(self, answers: Answers) -> None:
        """A session that got ``answers`` has ended."""
        self._open[answers.name] -= 1
        self.is_exceeded = self.is_exceeded and self._open["light"] > 0
