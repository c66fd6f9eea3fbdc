"""Holds a peer to what a call needs. What is beyond is dropped unread; who goes on and on is hung up."""

from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """What to do with a datagram."""

    TAKE = "take"
    DROP = "drop"
    FLOOD = "flood"  # this and all that follow: the peer does not stop


@dataclass(frozen=True, slots=True)
class PoliceConfig:
    """A bucket of ``burst`` datagrams that fills by ``per_s``; empty for ``patience_s``, it is a flood."""

    per_s: float
    burst: float
    patience_s: float = 3.0


RTP = PoliceConfig(per_s=200, burst=300)
"""A call sends 50 packets of sound a second (100 of 10 ms) and two of RTCP; after a stall they come all at once."""
DTLS = PoliceConfig(per_s=300, burst=600)
"""SCTP: a message of 128 KiB has 110 packets. What is dropped is sent again, slower: that is SCTP's own brake."""
HANDSHAKE = PoliceConfig(per_s=30, burst=120)
"""DTLS until it is up: three flights of a few records, each sent again after a second and more."""
LATE_HANDSHAKE = PoliceConfig(per_s=1, burst=20, patience_s=float("inf"))
"""DTLS records that are no data, once it is up: a last flight that was lost is sent again a few times."""
RTCP = PoliceConfig(per_s=20, burst=60, patience_s=float("inf"))
"""Reports come every few seconds; feedback that we did not ask for may come with each packet of a bad network."""
SCTP_WORK = PoliceConfig(per_s=100_000, burst=400_000, patience_s=float("inf"))
"""Estimated µs (core/sctp.py): a tenth of a core. Messages of 128 KiB through 10 % loss, one behind another, take less
than half of it."""
SCTP_MESSAGES = PoliceConfig(per_s=150, burst=400, patience_s=float("inf"))
"""Events and fragments that end one. A conversation has a few a second; what is beyond 50 is dropped by `Inbox`."""
SCTP_ANSWERS = PoliceConfig(per_s=10, burst=60, patience_s=float("inf"))
"""Chunks that are answered: HEARTBEATs come every 10 to 30 s, a few others while channels open and close."""
SCTP_REFUSALS = PoliceConfig(per_s=20, burst=600, patience_s=3.0)
"""Packets that were refused for any of these. A peer whose packets are lost waits for a second, then sends slower.
Stock aiortc first sends 300 small messages again and again within half a second, so only who goes on for 3 s is a
flood."""
SCTP_VIOLATIONS = PoliceConfig(per_s=0.2, burst=10, patience_s=0.0)
"""Packets that no SCTP stack sends."""
CPU = PoliceConfig(per_s=0.25, burst=0.5, patience_s=0.0)
"""CPU seconds of ours for what the peer sends, RTP aside: a quarter of a core over two seconds. A conversation takes
0.4 %, 50 events a second both ways 2 %, messages of 128 KB one behind another 7 % (docs/performance.md)."""
CHECKS = PoliceConfig(per_s=50, burst=100, patience_s=float("inf"))
"""STUN checks are made by the client, but anybody who saw its ufrag can imitate one until the signature is looked at;
so they are limited before that, and never a reason to hang up."""
REQUESTS = PoliceConfig(per_s=500, burst=1000, patience_s=float("inf"))
"""Checks of ours, of a whole process, to addresses that have not answered yet and may be forged: 50 KB a second. A
call asks eight of them, seven times each in 6.3 s; 180 calls that all come back at once need 180."""
RESTARTS = PoliceConfig(per_s=0.5, burst=8, patience_s=float("inf"))
"""New offers of a live call: each costs some milliseconds in which nobody's frames leave. A phone on a train changes
its network a few times a minute; browsers try again after seconds."""


@dataclass(slots=True)
class Police:
    """One peer's bucket, of datagrams or of what else costs time."""

    config: PoliceConfig
    _left: float = field(init=False)
    _at: float = 0.0
    _empty_since: float | None = None

    def __post_init__(self) -> None:
        self._left = self.config.burst

    def check(self, *, now: float, cost: float = 1.0) -> Verdict:
        """Judge the next datagram, or what else takes ``cost`` out of the bucket."""
        config = self.config
        left = self._left + (now - self._at) * config.per_s
        self._at = now
        left = min(left, config.burst)
        if left >= cost:
            if left >= config.burst / 2:
                self._empty_since = None
            self._left = left - cost
            return Verdict.TAKE
        self._left = left
        if self._empty_since is None:
            self._empty_since = now
        return Verdict.FLOOD if now - self._empty_since >= config.patience_s else Verdict.DROP
