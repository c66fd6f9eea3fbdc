"""Statistics of a received stream for report blocks (RFC 3550 §6.4.1, A.1, A.3, A.8)."""

from dataclasses import dataclass

from services.media.core.rtp.rtp_packet import CLOCK_HZ, SEQUENCE_MASK, signed

MAX_DROPOUT = 3000
MAX_MISORDER = 100
_LOST_MIN, _LOST_MAX = -0x800000, 0x7FFFFF  # 24 bits, signed
_NTP_FRACTION = 65536  # the middle 32 bits of an NTP time count so many to the second


@dataclass(frozen=True, slots=True)
class ReceptionReport:
    """A report block: one party's statistics of the other's stream."""

    ssrc: int
    fraction_lost: int  # of 256, since the report before
    packets_lost: int
    highest_sequence: int  # with the number of wraps above its 16 bits
    jitter: int  # samples at 48 kHz
    last_report: int  # the middle 32 bits of the NTP time in the last sender report; 0: none came
    report_delay: int  # since that came, in 1/65536 s


class Reception:
    """The counts of one received stream; packets may be counted in any order."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.received = 0
        self.jitter = 0.0  # samples at 48 kHz
        self._base: int | None = None  # the first sequence number
        self._highest = 0
        self._cycles = 0
        self._expected_before = 0
        self._received_before = 0
        self._bad: int | None = None  # the next after a number that was far off
        self._arrived = 0.0
        self._timestamp = 0
        self._report: tuple[int, float] | None = None  # NTP's middle 32 bits, when it came

    @property
    def jitter_s(self) -> float:
        """The interarrival jitter in seconds."""
        return self.jitter / CLOCK_HZ

    @property
    def packets_lost(self) -> int:
        """Packets expected but not received; negative if duplicates were received."""
        return self._expected() - self.received

    def packet_received(self, sequence: int, timestamp: int, *, now: float) -> None:
        """Count a packet with its RTP ``sequence`` and ``timestamp``, received at ``now``."""
        ahead = (sequence - self._highest) & SEQUENCE_MASK
        if ahead != 1 or self._base is None:
            if not self._follow(sequence, ahead):
                return
        elif sequence == 0:
            self._cycles += SEQUENCE_MASK + 1
            self._highest = 0
        else:
            self._highest = sequence
        if self.received:
            transit = (now - self._arrived) * CLOCK_HZ - signed(timestamp - self._timestamp)
            self.jitter += (abs(transit) - self.jitter) / 16
        self._arrived = now
        self._timestamp = timestamp
        self.received += 1

    def sender_reported(self, ntp: int, *, now: float) -> None:
        """Record a sender report of the peer. ``ntp``: its 64-bit NTP time."""
        self._report = (ntp >> 16 & 0xFFFFFFFF, now)

    def report(self, *, now: float) -> ReceptionReport:
        """Return the report block as of ``now``; its fraction lost is since the last call."""
        expected = self._expected()
        lost = max(_LOST_MIN, min(_LOST_MAX, expected - self.received))
        last_report, came = self._report or (0, now)
        report = ReceptionReport(
            ssrc=self.ssrc,
            fraction_lost=self._fraction(expected - self._expected_before, self.received - self._received_before),
            packets_lost=lost,
            highest_sequence=(self._cycles + self._highest) & 0xFFFFFFFF,
            jitter=min(int(self.jitter), 0xFFFFFFFF),
            last_report=last_report,
            report_delay=min(max(0, int((now - came) * _NTP_FRACTION)), 0xFFFFFFFF),
        )
        self._expected_before, self._received_before = expected, self.received
        return report

    def _follow(self, sequence: int, ahead: int) -> bool:
        """Whether a packet counts that is not the next: RFC 3550 A.1."""
        if self._base is None:
            self._begin(sequence)
        elif ahead < MAX_DROPOUT:
            if ahead and sequence < self._highest:
                self._cycles += SEQUENCE_MASK + 1
            self._highest = sequence if ahead else self._highest
        elif ahead <= SEQUENCE_MASK - MAX_MISORDER:
            if sequence != self._bad:
                self._bad = (sequence + 1) & SEQUENCE_MASK
                return False
            self._begin(sequence)
        return True

    def _begin(self, sequence: int) -> None:
        self._base = self._highest = sequence
        self._cycles = self._expected_before = self._received_before = self.received = 0
        self._bad = None

    def _expected(self) -> int:
        return 0 if self._base is None else self._cycles + self._highest - self._base + 1

    @staticmethod
    def _fraction(expected: int, received: int) -> int:
        lost = expected - received
        return min(255, (lost << 8) // expected) if expected > 0 and lost > 0 else 0
