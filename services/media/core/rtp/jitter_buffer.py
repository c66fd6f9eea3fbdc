"""The jitter buffer: accepts packets in any order, returns what to decode in order.

Packets in order pass at once, so a good network adds no delay. A packet out of order waits for the ones before it;
then those are given up: what a later packet repeats (FEC) is recovered, the rest concealed, and latency is as before.
Nothing is concealed while no packets come at all: playback here is not in real time, so late speech is worth more than
concealment, and the gate closes by the wall clock.

Durations are in samples of RTP's clock, 48 kHz.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from services.media.core.rtp import opus_toc
from services.media.core.rtp.rtp_packet import CLOCK_HZ, SEQUENCE_MASK, TIMESTAMP_MASK, RtpPacket, signed

MAX_FILL = CLOCK_HZ
"""Gaps of up to a second are filled. Timestamps are not trusted beyond that: for longer ones our clock counts."""
MAX_CONCEAL = CLOCK_HZ // 10
"""100 ms: Opus' concealment has faded out by then."""
FRAME = CLOCK_HZ // 50
MAX_JUMP = 3000
"""MAX_DROPOUT of RFC 3550 A.1: further ahead, the stream has restarted."""
MAX_LATE = 100
"""MAX_MISORDER of RFC 3550 A.1: further back, the stream has restarted."""
_GRACE_S = 0.02  # how late a packet may be before its time counts as silence


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a packet waits for those before it: until either is reached."""

    packets: int
    seconds: float


@dataclass(frozen=True, slots=True)
class JitterConfig:
    """How long to wait for missing packets.

    With 100 ms of reordering jitter, `hold` alone loses 5 % of the received packets; together with `patient` none.
    """

    hold: Hold = Hold(3, 0.06)
    patient: Hold = Hold(6, 0.12)  # after a packet came too late
    patience_s: float = 30.0


@dataclass(slots=True, init=False)
class Decode:
    """Decode this packet."""

    payload: Final[bytes]

    def __init__(self, payload: bytes) -> None:  # written out: made for every packet (ADR 9)
        self.payload = payload


@dataclass(frozen=True, slots=True)
class Recover:
    """Decode the packet lost just before this one from its redundancy (FEC)."""

    payload: bytes
    samples: int


@dataclass(frozen=True, slots=True)
class Conceal:
    """Conceal lost audio (PLC)."""

    samples: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Insert silence. ``lost``: speech may have been lost."""

    samples: int
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Realign:
    """Continue at the wall clock: the pause was too long to be filled."""


@dataclass(frozen=True, slots=True)
class StreamRestarted:
    """Reset the decoder: another stream begins."""


DecodeStep = Decode | Recover | Conceal | Silence | Realign | StreamRestarted


class JitterBuffer:
    """One caller's jitter buffer."""

    def __init__(self, config: JitterConfig | None = None) -> None:
        self._config = config or JitterConfig()
        self._next = 0  # the next sequence number
        self._end = 0  # RTP time at which the last packet ends
        self._ahead = 0  # silence returned beyond it
        self._arrived = 0.0  # when the last packet was returned
        self._dtx = False
        self._held: dict[int, tuple[RtpPacket, float]] = {}  # in the order of arrival
        self._given_up: deque[int] = deque(maxlen=MAX_LATE)
        self._stray: RtpPacket | None = None
        self._patient_until = 0.0
        self.ssrc: int | None = None
        self.lost = 0
        self.late = 0
        self.duplicate = 0
        self.stray = 0
        self.restarts = 0

    @property
    def due(self) -> float | None:
        """When `on_timer` must be called, or None: not before the next packet."""
        if self._held:
            return self._waits_until()
        if self._dtx and self._ahead <= MAX_FILL - FRAME:
            return self._arrived + _GRACE_S + (-(-self._ahead // FRAME) + 1) * FRAME / CLOCK_HZ
        return None

    def insert(self, packet: RtpPacket, *, now: float) -> list[DecodeStep]:
        """Insert a packet received at ``now``; return what to decode now, in order."""
        if packet.sequence != self._next or packet.ssrc != self.ssrc:
            return self._unexpected(packet, now)
        self._stray = None
        heard = self._emit(packet, now)
        return heard + self._release(now) if self._held else heard

    def on_timer(self, *, now: float) -> list[DecodeStep]:
        """Return what is due as of ``now`` without a packet; call it at `due`."""
        heard = self._release(now)
        if self._dtx and not self._held:
            heard += self._pass_time(now)
        return heard

    def _emit(self, packet: RtpPacket, now: float, *, missing: int = 0) -> list[DecodeStep]:
        """Return the next packet, ``missing`` packets after the one before, and what fills the gap."""
        self._next = (packet.sequence + 1) & SEQUENCE_MASK
        self._arrived = now
        payload, timestamp = packet.payload, packet.timestamp
        samples = opus_toc.duration(payload)
        if not samples:  # padding, or nothing that a decoder accepts
            return [Decode(payload)] if payload else []
        heard: list[DecodeStep] = []
        if timestamp != self._end or self._ahead:
            heard += self._bridge(packet, samples, missing)
        self._end = (timestamp + samples) & TIMESTAMP_MASK
        self._dtx = opus_toc.is_dtx(payload)
        heard.append(Decode(payload))
        return heard

    def _bridge(self, packet: RtpPacket, samples: int, missing: int) -> list[DecodeStep]:
        """Return what fills the gap in RTP time between the last packet and this one."""
        gap = signed(packet.timestamp - self._end) - self._ahead
        # Silence inserted too early is subtracted from the next gap; a step back is ignored.
        self._ahead = -gap if -MAX_FILL <= gap < 0 else 0
        if gap > MAX_FILL:
            return [Realign()]
        return self._fill(gap, packet.payload, samples, missing) if gap > 0 else []

    def _fill(self, gap: int, payload: bytes, samples: int, missing: int) -> list[DecodeStep]:
        recovered = opus_toc.whole_steps(min(samples, gap)) if missing and opus_toc.has_fec(payload) else 0
        lost = 0 if self._dtx else min(gap, missing * samples)
        concealed = opus_toc.whole_steps(min(MAX_CONCEAL, max(0, lost - recovered)))
        heard: list[DecodeStep] = []
        if concealed:
            heard.append(Conceal(concealed))
        if silent := gap - concealed - recovered:
            heard.append(Silence(silent, lost=lost - recovered > concealed))
        if recovered:
            heard.append(Recover(payload, recovered))
        return heard

    def _unexpected(self, packet: RtpPacket, now: float) -> list[DecodeStep]:
        if self.ssrc is None:
            return self._begin(packet, now)
        if packet.ssrc == self.ssrc:
            ahead = (packet.sequence - self._next) & SEQUENCE_MASK
            if ahead < MAX_JUMP:
                return self._keep(packet, now)
            if ahead > SEQUENCE_MASK - MAX_LATE:
                self._count_late(packet.sequence, now)
                return []
        return self._on_stray_packet(packet, now)

    def _count_late(self, sequence: int, now: float) -> None:
        if sequence in self._given_up:
            self._given_up.remove(sequence)
            self._patient_until = now + self._config.patience_s
            self.late += 1
        else:
            self.duplicate += 1

    def _keep(self, packet: RtpPacket, now: float) -> list[DecodeStep]:
        if packet.sequence in self._held:
            self.duplicate += 1
            return []
        self._held[packet.sequence] = (packet, now)
        return self._release(now)

    def _release(self, now: float) -> list[DecodeStep]:
        """Return packets that are due, and give up missing ones after the hold time."""
        heard: list[DecodeStep] = []
        while self._held:
            if self._next in self._held:
                heard += self._emit(self._held.pop(self._next)[0], now)
            elif len(self._held) >= self._hold().packets or now >= self._waits_until():
                heard += self._give_up(now)
            else:
                break
        return heard

    def _oldest(self) -> float:
        return next(iter(self._held.values()))[1]

    def _waits_until(self) -> float:
        return self._oldest() + self._hold().seconds

    def _hold(self) -> Hold:
        return self._config.patient if self._oldest() < self._patient_until else self._config.hold

    def _give_up(self, now: float) -> list[DecodeStep]:
        """Continue with the first of the held packets."""
        missing, sequence = min(((sequence - self._next) & SEQUENCE_MASK, sequence) for sequence in self._held)
        self.lost += missing
        self._given_up.extend((self._next + n) & SEQUENCE_MASK for n in range(missing))
        return self._emit(self._held.pop(sequence)[0], now, missing=missing)

    def _on_stray_packet(self, packet: RtpPacket, now: float) -> list[DecodeStep]:
        """Handle a packet of another stream, or far off in ours; its successor proves that the stream has restarted."""
        first, self._stray = self._stray, packet
        if first is None:
            return []
        if packet.ssrc != first.ssrc or packet.sequence != (first.sequence + 1) & SEQUENCE_MASK:
            self.stray += 1
            return []
        heard: list[DecodeStep] = []
        while self._held:
            heard += self._give_up(now)
        self.restarts += 1
        heard.append(StreamRestarted())
        return heard + self._begin(first, now) + self.insert(packet, now=now)

    def _begin(self, packet: RtpPacket, now: float) -> list[DecodeStep]:
        """Start a new stream, aligned to the wall clock."""
        passed = int((now - self._arrived) * CLOCK_HZ) - 2 * FRAME if self.ssrc is not None else 0
        self._end = (packet.timestamp - max(0, passed) // FRAME * FRAME) & TIMESTAMP_MASK
        self._given_up.clear()
        self.ssrc = packet.ssrc
        return self._emit(packet, now)

    def _pass_time(self, now: float) -> list[DecodeStep]:
        """Return elapsed silence in whole frames, while the sender is in DTX."""
        passed = int((now - self._arrived - _GRACE_S) * CLOCK_HZ + 0.5) // FRAME * FRAME
        silent = min(passed, MAX_FILL) - self._ahead
        silent -= silent % FRAME
        if silent <= 0:
            return []
        self._ahead += silent
        return [Silence(silent)]
