"""When the next frame is due, and its place on the media clock."""

from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ, FRAME_MS

FRAME_S = FRAME_MS / 1000
MAX_LATE_S = 0.100
"""Later than five frames we skip ahead instead of bursting: a burst only fills the far jitter buffer."""


class Pacer:
    """Paces one sending track at 20 ms; pauses leave a gap on the media clock as long as they were."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._last_sent: float | None = None
        self._timestamp = 0
        self._follows = False

    def pause(self) -> None:
        """There was nothing to send: the next frame goes as soon as there is one."""
        self._due = None

    def next_due(self, *, now: float) -> float:
        """When the next frame goes: 20 ms after the last, or now after a pause or when that was too long ago."""
        if self._due is None or now - self._due > MAX_LATE_S:
            self._due = now
            self._follows = False
        return self._due

    def take(self, *, now: float) -> int:
        """A frame goes out now; returns its timestamp in samples at 24 kHz."""
        due = self.next_due(now=now)
        if self._last_sent is not None:
            passed = DOWN_FRAME_SAMPLES if self._follows else round((due - self._last_sent) * DOWN_HZ)
            self._timestamp += max(DOWN_FRAME_SAMPLES, passed)
        self._last_sent = due
        self._due = due + FRAME_S
        self._follows = True
        return self._timestamp
