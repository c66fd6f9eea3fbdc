"""Recorded answers for callers whose speech was not recognised, with the lengths of typical answers."""

from collections.abc import Sequence
from dataclasses import dataclass

RECORDED_TEXTS = (
    "I am answering with a recording just now.",
    "This is a recorded answer. It does not depend on what you said, but it is about as long as an answer is.",
    "Thank you. The recogniser is not listening to this call, so please take this sentence as the answer.",
    "All right. Please go on.",
    "That may well be so. This answer was recorded before you asked. Ask me something else to hear another one.",
    "Yes. Here is a longer one, so that you have time to interrupt it. It goes on for some seconds, and then it ends.",
    "Nobody recognises your words at the moment.",
    "I have heard that you spoke, and for how long. What you said is not recognised here, and so this is a recording.",
)
"""Two to eight seconds each with the local voice, five on average: see docs/rehearsal.md."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded answer. ``pcm``: s16le mono 24 kHz, shared by all sessions."""

    text: str
    pcm: bytes


class Recordings:
    """The recorded answers of one session in rotation, starting at ``first``, which its id determines."""

    def __init__(self, recordings: Sequence[Recording], *, first: int) -> None:
        self._recordings = recordings
        self._next = first

    def next(self) -> Recording | None:
        """Return the next one; None if there are none."""
        if not self._recordings:
            return None
        self._next = (self._next + 1) % len(self._recordings)
        return self._recordings[self._next]
