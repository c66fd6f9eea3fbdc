"""What of an item reached the ear: what left the socket, less what is still on its way."""

from collections import deque

from services.contracts.audio import DOWN_HZ, samples_to_ms

DEFAULT_BUFFER_MS = 60
"""Jitter buffer and device of a client that does not say; Chromium's RTCP does not carry it."""
MAX_EAR_DELAY_MS = 1000
_MEMORY_FRAMES = 2 * MAX_EAR_DELAY_MS // 20


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
    """Remembers when each position of the current item left, so that an under-run counts as heard, too."""

    def __init__(self) -> None:
        self._left: deque[tuple[float, int, int]] = deque(maxlen=_MEMORY_FRAMES)  # when, from sample, to sample

    def started(self) -> None:
        """Another item begins."""
        self._left.clear()

    def played(self, start: int, end: int, *, now: float) -> None:
        """The samples from ``start`` to ``end`` of the item left the socket."""
        self._left.append((now, start, end))

    def heard_ms(self, *, now: float, ear_delay_ms: int) -> int:
        """Milliseconds of the item that were heard; never more than left, never negative."""
        heard = 0
        for at, start, end in self._left:
            sounding_s = now - at - ear_delay_ms / 1000
            if sounding_s < 0:
                break
            heard = min(end, start + round(sounding_s * DOWN_HZ))
        return samples_to_ms(heard)


def _bounded(ms: int) -> int:
    return max(0, min(MAX_EAR_DELAY_MS, ms))
