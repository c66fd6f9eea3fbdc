"""Holds what the caller and the client send before the session is in force, in order and bounded."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from services.upstream.core.command_buffer import MAX_HELD_AUDIO_BYTES, MAX_HELD_EVENT_BYTES, MAX_HELD_EVENTS

InputStep = Callable[[float], None]
"""What handles one input, given the time."""


@dataclass(frozen=True, slots=True)
class _WaitingInput:
    step: InputStep
    audio_bytes: int


class WaitingInputs:
    """The inputs of one session that has not been in force."""

    def __init__(self) -> None:
        self._inputs: deque[_WaitingInput] = deque()
        self._audio_bytes = 0
        self._event_chars = 0
        self._events = 0

    def hold(self, step: InputStep) -> None:
        """Hold the start or end of an utterance."""
        self._inputs.append(_WaitingInput(step, 0))

    def hold_audio(self, step: InputStep, size: int) -> int:
        """Hold audio of ``size`` bytes; return how many older pieces were dropped for it: 2 s are held."""
        self._inputs.append(_WaitingInput(step, size))
        self._audio_bytes += size
        dropped = 0
        while self._audio_bytes > MAX_HELD_AUDIO_BYTES:
            oldest = next(waiting for waiting in self._inputs if waiting.audio_bytes)
            self._inputs.remove(oldest)
            self._audio_bytes -= oldest.audio_bytes
            dropped += 1
        return dropped

    def hold_event(self, step: InputStep, size: int) -> None:
        """Hold an event of the client of ``size`` characters."""
        self._events += 1
        self._event_chars += size
        self._inputs.append(_WaitingInput(step, 0))

    @property
    def has_room(self) -> bool:
        """Whether a further event of the client may be held."""
        return self._events < MAX_HELD_EVENTS and self._event_chars < MAX_HELD_EVENT_BYTES

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._inputs

    def pop(self) -> InputStep | None:
        """Remove and return the first that is held; None if nothing is."""
        if not self._inputs:
            return None
        first = self._inputs.popleft()
        self._audio_bytes -= first.audio_bytes
        return first.step
