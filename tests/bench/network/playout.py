"""How a browser plays what it receives: a model of libwebrtc's NetEq, as far as it decides what is heard.

- Playout starts 60 ms after the first packet and takes a frame every 20 ms.
- The delay that is wanted is what 95 % of the last 100 packets would have needed, and a frame more, in 60 to 100 ms
  above the fastest packet. It is reached by waiting with a concealed frame until it is no less (NetEq, which stretches
  sound, meets it exactly), and from above by leaving a silent one out.
- A missing frame is recovered from the next packet (in-band FEC) if that is there, else concealed. Packets that come
  after their turn are thrown away.

What it leaves out: stretching and shortening of sound, by which NetEq changes its delay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.callers.speech import Samples
from tests.network.browser import FRAME_S, FRAME_SAMPLES, ReceivedRtp

LEAST_S, MOST_S = 0.060, 0.100
WINDOW_PACKETS = 100
COVERED = 0.95
_EPSILON_S = 1e-6
_SILENT = 30  # of 32768: the noise of a codec


class Decoder(Protocol):
    """What turns packets and gaps into sound."""

    def decode(self, packet: bytes) -> Samples:
        """What the packet holds."""

    def has_fec(self, packet: bytes) -> bool:
        """Whether it says something of the frame before it."""

    def recover(self, following: bytes) -> Samples:
        """The lost frame in front of ``following``."""

    def conceal(self) -> Samples:
        """A frame out of nothing."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came out. ``concealed``: frames that were made up, recovered ones not among them; ``late``: thrown away."""

    samples: Samples
    frames: int
    concealed: int
    recovered: int
    late: int
    delay_ms: float


class _Buffer:
    """Packets by frame number, and how late they came."""

    def __init__(self, packets: Sequence[ReceivedRtp]) -> None:
        first = packets[0]
        self._coming = [(packet.at_s, _frame_number(packet, first), packet.payload) for packet in packets][::-1]
        self._lateness: list[float] = []
        self.fastest = float("inf")
        self.frames: dict[int, bytes] = {}
        self.late = 0

    @property
    def empty(self) -> bool:
        return not (self._coming or self.frames)

    def receive(self, *, now: float, playing: int) -> None:
        """Take what has come by ``now``; frames before ``playing`` have had their turn."""
        while self._coming and self._coming[-1][0] <= now:
            at, number, payload = self._coming.pop()
            self._lateness.append(at - number * FRAME_S)
            self.fastest = min(self.fastest, self._lateness[-1])
            if number < playing:
                self.late += 1
            else:
                self.frames[number] = payload

    @property
    def wanted_s(self) -> float:
        """The delay that it should have, above the fastest packet."""
        recent = np.array(self._lateness[-WINDOW_PACKETS:]) - self.fastest
        return float(np.clip(np.quantile(recent, COVERED) + FRAME_S, LEAST_S, MOST_S))


class _Player:
    """Takes a frame from the buffer at every tick."""

    def __init__(self, first: ReceivedRtp, buffer: _Buffer, decoder: Decoder) -> None:
        self._buffer, self._decoder = buffer, decoder
        self._now = first.at_s + LEAST_S
        self._due = 0
        self.out: list[Samples] = []
        self.concealed = self.recovered = 0
        self.delay_s = LEAST_S

    def tick(self) -> bool:
        """Play what is due now; False when all is over."""
        buffer = self._buffer
        buffer.receive(now=self._now, playing=self._due)
        if buffer.empty:
            return False
        self.delay_s = self._now - (buffer.fastest + self._due * FRAME_S)
        if (payload := buffer.frames.pop(self._due, None)) is not None:
            self._play(self._decoder.decode(payload))
        else:
            self._fill(buffer.frames.get(self._due + 1))
        return True

    def _play(self, samples: Samples) -> None:
        self._due += 1
        if self.delay_s >= self._buffer.wanted_s + FRAME_S and not np.any(np.abs(samples) > _SILENT):
            return  # the next one in the same tick, so all that follows is earlier
        self.out.append(samples)
        self._now += FRAME_S

    def _fill(self, following: bytes | None) -> None:
        if following is not None and self._decoder.has_fec(following):
            self.out.append(self._decoder.recover(following))
            self.recovered += 1
            self._due += 1
        else:
            self.out.append(self._decoder.conceal())
            self.concealed += 1
            waits = not self._buffer.frames and self.delay_s < self._buffer.wanted_s - _EPSILON_S
            self._due += 0 if waits else 1
        self._now += FRAME_S


def play(packets: Sequence[ReceivedRtp], decoder: Decoder) -> Played:
    """Play packets, given in the order of their arrival."""
    if not packets:
        return Played(np.zeros(0, np.int16), 0, 0, 0, 0, 0.0)
    buffer = _Buffer(packets)
    player = _Player(packets[0], buffer, decoder)
    while player.tick():
        pass
    out = player.out
    sound = np.concatenate(out)
    return Played(sound, len(out), player.concealed, player.recovered, buffer.late, 1000 * player.delay_s)


def _frame_number(packet: ReceivedRtp, first: ReceivedRtp) -> int:
    """Frames since the first packet by RTP time; one that was overtaken by the first is before it."""
    ahead = ((packet.timestamp - first.timestamp + (1 << 31)) % (1 << 32)) - (1 << 31)
    return round(ahead / FRAME_SAMPLES)
