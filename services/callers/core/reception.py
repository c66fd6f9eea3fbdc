"""Reception statistics of one call, from RTP headers alone: they are not encrypted, so nothing is decrypted."""

from dataclasses import dataclass, field

from services.callers.core.histogram import Histogram

CLOCK_HZ = 48_000
FRAME_TICKS = 960  # 20 ms of Opus' RTP clock
_LONGEST_TICKS = 3 * FRAME_TICKS
"""Packets of more than 60 ms are not in use; a step within that is no pause."""
SILENCE_BYTES = 3
"""Opus encodes silence in 1 to 3 bytes, with and without DTX; speech takes more."""
_MAX_SPURT_PACKETS = 500
"""10 s: a longer spurt is counted in parts, or the drift between two machines' clocks would count as lateness."""
_LATE_BY_REORDERING = 1 << 15  # of 16 bits: a sequence number that seems far ahead is behind
_HALF_TURN = 1 << 31  # of RTP time


@dataclass(slots=True)
class ReceptionTotals:
    """The sums over calls. ``spacing`` between neighbours of a spurt; ``lateness`` against the spurt's earliest.

    ``received``: frames of 20 ms, of which a packet may hold several; ``lost``: packets.
    """

    received: int = 0
    lost: int = 0
    spacing: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)

    def merge(self, other: "ReceptionTotals") -> None:
        """Add the sums of another process."""
        self.received += other.received
        self.lost += other.lost
        self.spacing.merge(other.spacing)
        self.lateness.merge(other.lateness)


class ReceptionStatistics:
    """Statistics of one call's incoming RTP. A spurt is a run of packets without a pause in RTP time."""

    def __init__(self, heard: ReceptionTotals) -> None:
        self._heard = heard
        self._ssrc: int | None = None
        self._first = 0
        self._highest = 0
        self._received = 0
        self._frames = 0  # in them
        self._timestamp = 0  # unwrapped
        self._jitter_s = 0.0
        self._transit_s = 0.0
        self._at_s = 0.0
        self._prior = (0, 0)
        self._spacing_s: list[float] = []
        self._transits_s: list[float] = []
        self.packets = 0
        """All packets received, from any source."""
        self.last_packet_at: float | None = None
        self.last_sound_at: float | None = None
        self.first_sound_at: float | None = None
        """Arrival of the first packet with sound since `reset_first_sound`, monotonic seconds."""

    def reset_first_sound(self) -> None:
        """Reset `first_sound_s`: the next packet with sound sets it."""
        self.first_sound_at = None

    def packet_received(self, ssrc: int, sequence: int, timestamp: int, payload_bytes: int, at_s: float) -> None:
        """Count a packet that arrived at ``at_s``."""
        self.packets += 1
        if payload_bytes > SILENCE_BYTES:
            self.last_sound_at = at_s
            if self.first_sound_at is None:
                self.first_sound_at = at_s
        if ssrc != self._ssrc:
            self._restart(ssrc, sequence, timestamp)
        self._received += 1
        self._frames += 1
        ahead = (sequence - self._highest) & 0xFFFF
        moved = ((timestamp - self._timestamp + _HALF_TURN) & 0xFFFFFFFF) - _HALF_TURN
        unwrapped = self._timestamp + moved
        transit_s = at_s - unwrapped / CLOCK_HZ
        if ahead == 1 and 0 < moved <= _LONGEST_TICKS:
            self._frames += moved // FRAME_TICKS - 1  # the previous packet held so many
            self._spacing_s.append(at_s - self._at_s)
            self._jitter_s += (abs(transit_s - self._transit_s) - self._jitter_s) / 16  # RFC 3550
        elif ahead < _LATE_BY_REORDERING and not 0 < moved <= ahead * _LONGEST_TICKS:
            self._end_spurt()  # a pause; after lost packets it continues
        if ahead < _LATE_BY_REORDERING:
            self._highest += ahead
            self._timestamp = unwrapped
            self._transit_s = transit_s
            self._at_s = at_s
        self.last_packet_at = at_s
        self._transits_s.append(transit_s)
        if len(self._transits_s) >= _MAX_SPURT_PACKETS:
            self._end_spurt()

    def close(self) -> None:
        """Count the last spurt; no more packets follow."""
        self._end_spurt()
        self._count_loss()

    # Values for receiver reports.

    @property
    def ssrc(self) -> int | None:
        """The SSRC being received."""
        return self._ssrc

    @property
    def highest_sequence(self) -> int:
        """Extended highest sequence number: wraps above the lower 16 bits."""
        return self._highest & 0xFFFFFFFF

    @property
    def jitter(self) -> int:
        """Interarrival jitter in RTP clock units (RFC 3550)."""
        return int(self._jitter_s * CLOCK_HZ)

    @property
    def lost(self) -> int:
        """Packets lost from this source so far."""
        return max(0, self._expected - self._received)

    def next_fraction_lost(self) -> int:
        """Fraction lost since the last call, in 1/256."""
        expected, received = self._expected - self._prior[0], self._received - self._prior[1]
        self._prior = (self._expected, self._received)
        return min(255, max(0, expected - received) * 256 // expected) if expected > 0 else 0

    @property
    def _expected(self) -> int:
        return self._highest - self._first + 1 if self._ssrc is not None else 0

    def _restart(self, ssrc: int, sequence: int, timestamp: int) -> None:
        self._end_spurt()
        self._count_loss()
        self._ssrc = ssrc
        self._first = sequence
        self._highest = sequence
        self._timestamp = timestamp
        self._received = self._frames = 0
        self._prior = (0, 0)

    def _end_spurt(self) -> None:
        if len(self._transits_s) > 1:
            earliest = min(self._transits_s)
            self._heard.lateness.add_all((transit - earliest) * 1000 for transit in self._transits_s)
            self._heard.spacing.add_all(spacing * 1000 for spacing in self._spacing_s)
        self._transits_s.clear()
        self._spacing_s.clear()

    def _count_loss(self) -> None:
        self._heard.received += self._frames
        self._heard.lost += self.lost
