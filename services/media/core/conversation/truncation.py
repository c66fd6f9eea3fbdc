"""Estimates how much of an item was heard: what was sent, less the ear delay.

``heard_ms`` is a position in the item. Audio sent after the last packet of a lost client counts as not heard while it
is lost; once it recovers and hears later audio, the position is after that, although it missed a part: the provider
can truncate an item at one position only.
"""

from collections import deque

from services.contracts.audio import DOWN_HZ, samples_to_ms

DEFAULT_BUFFER_MS = 60
"""Jitter buffer and device of a client that does not report them; Chromium's RTCP does not carry them."""
MAX_EAR_DELAY_MS = 1000
MAX_STRAY_S = 0.010
"""A frame sent with so little jitter still belongs to its run: the client's jitter buffer compensates it."""
MAX_RUNS = 256
"""Enough for five seconds (the ear delay, and detection of a lost client) even if every frame is its own run."""


class EarDelay:
    """Delay from sending audio until it is heard: half a round trip, the client's jitter buffer and audio output."""

    def __init__(self) -> None:
        self._round_trip_ms = 0
        self._buffer_ms = DEFAULT_BUFFER_MS

    def measured(self, *, round_trip_ms: int) -> None:
        """Record the transport's round trip."""
        self._round_trip_ms = _bounded(round_trip_ms)

    def reported(self, *, buffer_ms: int, playout_ms: int | None = None, round_trip_ms: int | None = None) -> None:
        """Record the client's jitter-buffer delay, and if known its audio output delay and round trip."""
        self._buffer_ms = _bounded(buffer_ms + (playout_ms or 0))
        if round_trip_ms is not None:
            self._round_trip_ms = _bounded(round_trip_ms)

    @property
    def ms(self) -> int:
        """Return the ear delay in ms."""
        return min(MAX_EAR_DELAY_MS, self._round_trip_ms // 2 + self._buffer_ms)


class HeardClock:
    """Records when each position of the current item was sent, so that pauses by under-runs are accounted for.

    Consecutive frames sent in pace are one run: when it began, its first sample, the sample after its last.
    """

    def __init__(self) -> None:
        self._past: deque[tuple[float, int, int]] = deque()
        self._floor = 0  # the end of the runs that were discarded
        self._at = 0.0
        self._start = 0
        self._end = -1  # no current run

    def started(self) -> None:
        """Reset for the next item."""
        self._past.clear()
        self._floor = 0
        self._end = -1

    def played(self, start: int, end: int, *, now: float) -> None:
        """Record that the samples from ``start`` to ``end`` of the item were sent at ``now``."""
        if start != self._end or abs(now - self._at - (start - self._start) / DOWN_HZ) > MAX_STRAY_S:
            self._keep()
            self._at = now
            self._start = start
        self._end = end

    def lost(self, *, since: float) -> None:
        """Discount what was sent after ``since``: the client was lost."""
        self._keep()
        while self._past and self._past[-1][0] >= since:
            self._past.pop()
        if self._past:
            at, start, end = self._past.pop()
            self._past.append((at, start, min(end, start + round((since - at) * DOWN_HZ))))

    def heard_ms(self, *, now: float, ear_delay_ms: int) -> int:
        """Return the milliseconds of the item that were heard as of ``now``: from 0 to what was sent."""
        heard_at = now - ear_delay_ms / 1000
        if self._end >= 0 and self._at <= heard_at:
            return _heard_of(self._at, self._start, self._end, heard_at)
        for at, start, end in reversed(self._past):
            if at <= heard_at:
                return _heard_of(at, start, end, heard_at)
        return samples_to_ms(self._floor)

    def _keep(self) -> None:
        if self._end >= 0:
            self._past.append((self._at, self._start, self._end))
            self._end = -1
            if len(self._past) > MAX_RUNS:
                self._floor = self._past.popleft()[2]


def _heard_of(at: float, start: int, end: int, heard_at: float) -> int:
    return samples_to_ms(min(end, start + round((heard_at - at) * DOWN_HZ)))


def _bounded(ms: int) -> int:
    return max(0, min(MAX_EAR_DELAY_MS, ms))
