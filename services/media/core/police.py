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

    def check(self, *, now: float) -> Verdict:
        """Judge the next datagram."""
        config = self.config
        left = self._left + (now - self._at) * config.per_s
        self._at = now
        left = min(left, config.burst)
        if left >= 1:
            if left >= config.burst / 2:
                self._empty_since = None
            self._left = left - 1
            return Verdict.TAKE
        self._left = left
        if self._empty_since is None:
            self._empty_since = now
        return Verdict.FLOOD if now - self._empty_since >= config.patience_s else Verdict.DROP
