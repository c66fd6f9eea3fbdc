"""What of an item reached the ear: what left the socket, less what is still on its way.

``heard_ms`` is a place in the item. What left after the last sign of a client that was lost was not heard while it is
away; once it is back and hears what follows, the place lies behind that, and what it missed stays missed: the provider
can cut an item only at one place.
"""

from collections import deque

from services.contracts.audio import DOWN_HZ, samples_to_ms

DEFAULT_BUFFER_MS = 60
"""Jitter buffer and device of a client that does not say; Chromium's RTCP does not carry it."""
MAX_EAR_DELAY_MS = 1000
MAX_STRAY_S = 0.010
"""A frame that leaves so little beside the pace still belongs to its run: the client's jitter buffer evens it out."""
MAX_RUNS = 256
"""Enough for five seconds (the ear delay, and a client that is missed) even if every frame were a run of its own."""


class EarDelay:
    """How long sound takes from our socket to the ear: half a round trip, the client's jitter buffer and its output."""

    def __init__(self) -> None:
        self._round_trip_ms = 0
        self._buffer_ms = DEFAULT_BUFFER_MS

    def measured(self, *, round_trip_ms: int) -> None:
        """The transport measured a round trip."""
        self._round_trip_ms = _bounded(round_trip_ms)

    def reported(self, *, buffer_ms: int, playout_ms: int | None = None, round_trip_ms: int | None = None) -> None:
        """The client told its jitter-buffer delay, and perhaps that of its sound output and its own round trip."""
        self._buffer_ms = _bounded(buffer_ms + (playout_ms or 0))
        if round_trip_ms is not None:
            self._round_trip_ms = _bounded(round_trip_ms)

    @property
    def ms(self) -> int:
        """The delay."""
        return min(MAX_EAR_DELAY_MS, self._round_trip_ms // 2 + self._buffer_ms)


class HeardClock:
    """Remembers when each position of the current item left, so that an under-run counts as heard, too.

    Frames that left at their pace are one run: when it began, its first sample, the sample after its last.
    """

    def __init__(self) -> None:
        self._past: deque[tuple[float, int, int]] = deque()
        self._floor = 0  # the end of runs that are forgotten
        self._at = 0.0
        self._start = 0
        self._end = -1  # no run goes on

    def started(self) -> None:
        """Another item begins."""
        self._past.clear()
        self._floor = 0
        self._end = -1

    def played(self, start: int, end: int, *, now: float) -> None:
        """The samples from ``start`` to ``end`` of the item left the socket."""
        if start != self._end or abs(now - self._at - (start - self._start) / DOWN_HZ) > MAX_STRAY_S:
            self._keep()
            self._at = now
            self._start = start
        self._end = end

    def lost(self, *, since: float) -> None:
        """What left after ``since`` went to nobody."""
        self._keep()
        while self._past and self._past[-1][0] >= since:
            self._past.pop()
        if self._past:
            at, start, end = self._past.pop()
            self._past.append((at, start, min(end, start + round((since - at) * DOWN_HZ))))

    def heard_ms(self, *, now: float, ear_delay_ms: int) -> int:
        """Milliseconds of the item that were heard; never more than left, never negative."""
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
