"""Decides how early a call's turns may be answered, by what its taken-back responses have cost so far."""

from services.contracts.turn_detection import eager_within

MIN_RESPONSES = 3
"""Fewer responses than these say nothing about a call."""


class EagerWaste:
    """One call's. ``allowed_percent``: most that taken-back responses may cost, of what all responses cost.

    Above it, eager ends come half as late again; the second time, not at all. There is no way back within a call.
    """

    def __init__(self, allowed_percent: int) -> None:
        self._allowed_percent = allowed_percent
        self._responses = 0  # since the last step
        self._spent = 0
        self._wasted = 0
        self.steps = 0
        """How often the share was exceeded."""

    def record(self, cost: int, *, taken_back: bool) -> None:
        """Record what a response has cost, in any one unit."""
        self._responses += 1
        self._spent += cost
        self._wasted += cost if taken_back else 0
        if self._responses >= MIN_RESPONSES and self._wasted * 100 > self._spent * self._allowed_percent:
            self.steps += 1
            self._responses = self._spent = self._wasted = 0

    def limited(self, eager_ms: int, silence_ms: int) -> int:
        """Return after how many ms of silence an answer may be requested; 0: not before the turn's end.

        ``eager_ms``: as the session has it. ``silence_ms``: which ends the turn.
        """
        if self.steps == 0:
            return eager_ms
        return eager_within(eager_ms * 3 // 2, silence_ms) if self.steps == 1 else 0
