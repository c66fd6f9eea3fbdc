"""Token buckets that limit a peer to what a call needs. Excess datagrams are dropped unread; a flood ends the call."""

from dataclasses import dataclass, field
from enum import Enum

from services.runtime.core.token_bucket import TokenBucket


class Verdict(Enum):
    """How to treat a datagram."""

    ACCEPT = "accept"
    DROP = "drop"
    FLOOD = "flood"  # the bucket has been empty for `patience_s`: end the call


@dataclass(frozen=True, slots=True)
class RateLimiterConfig:
    """A bucket of ``burst`` datagrams, refilled at ``per_s``; exceeded for ``patience_s`` seconds it is a flood."""

    per_s: float
    burst: float
    patience_s: float = 3.0


RTP = RateLimiterConfig(per_s=200, burst=300)
"""A call sends 50 packets of audio a second (100 of 10 ms) and two of RTCP; after a stall they come in a burst."""
DTLS = RateLimiterConfig(per_s=1500, burst=15_000, patience_s=20.0)
"""SCTP: a picture of 5 MB has 4,500 packets, the longest message 14,500. They are not dropped: stock aiortc ignores the
window, and after losses it waits for up to a minute. `SCTP_WORK` and `CPU` bound what they cost."""
HANDSHAKE = RateLimiterConfig(per_s=30, burst=120)
"""DTLS until it is up: three flights of a few records, each sent again after a second and more."""
LATE_HANDSHAKE = RateLimiterConfig(per_s=1, burst=20, patience_s=float("inf"))
"""Non-data DTLS records after the handshake: a lost last flight is retransmitted a few times."""
RTCP = RateLimiterConfig(per_s=20, burst=60, patience_s=float("inf"))
"""Reports come every few seconds; feedback that was not negotiated may come with each packet on a bad network."""
SCTP_WORK = RateLimiterConfig(per_s=100_000, burst=400_000, patience_s=float("inf"))
"""Estimated µs (core/network/sctp_inspector.py): a tenth of a core. Packets that continue a message in order are free:
`DTLS` and `CPU` bound them."""
SCTP_MESSAGES = RateLimiterConfig(per_s=1000, burst=10_000, patience_s=float("inf"))
"""Fragments that end an event. A history comes at once: `ClientInbox` forwards 250 a second, and the window is closed
when more wait, long before this limit. A peer that is refused some messages of many retransmits all the others, too."""
SCTP_ANSWERS = RateLimiterConfig(per_s=10, burst=60, patience_s=float("inf"))
"""Chunks that are answered: HEARTBEATs come every 10 to 30 s, a few others while channels open and close."""
SCTP_REFUSALS = RateLimiterConfig(per_s=100, burst=2000, patience_s=3.0)
"""Packets that were refused for any of these, or for a closed window. A peer whose packets are lost waits for a second,
then sends slower. Stock aiortc ignores windows and has a thousand small messages in flight by then."""
SCTP_VIOLATIONS = RateLimiterConfig(per_s=0.2, burst=10, patience_s=0.0)
"""Packets that no SCTP stack sends."""
CPU = RateLimiterConfig(per_s=0.25, burst=1.25, patience_s=0.0)
"""CPU seconds for the peer's packets other than RTP: a quarter of a core over five seconds. A conversation takes 0.4 %,
50 events a second both ways 2 %, messages of 128 KB back to back 7 % (docs/performance.md)."""
CHECKS = RateLimiterConfig(per_s=50, burst=100, patience_s=float("inf"))
"""STUN checks of a client. Anybody who saw its ufrag can forge one until the signature is verified; so they are limited
before that, and never end the call."""
REQUESTS = RateLimiterConfig(per_s=500, burst=1000, patience_s=float("inf"))
"""Checks of a whole process to addresses that have not answered yet and may be forged: 50 KB a second. A call sends to
eight of them, seven times each in 6.3 s; 180 calls that all reconnect at once need 180."""
RESTARTS = RateLimiterConfig(per_s=0.5, burst=8, patience_s=float("inf"))
"""New offers of a live call: each blocks all frames for some milliseconds. A phone on a train changes its network a
few times a minute; browsers retry after seconds."""


@dataclass(slots=True)
class RateLimiter:
    """A token bucket for one peer, in datagrams or another cost."""

    config: RateLimiterConfig
    _bucket: TokenBucket = field(init=False)
    _empty_since: float | None = None

    def __post_init__(self) -> None:
        self._bucket = TokenBucket(self.config.per_s, self.config.burst)

    def check(self, *, now: float, cost: float = 1.0) -> Verdict:
        """Take ``cost`` out of the bucket for the next datagram; return how to treat it."""
        since = self._empty_since
        if since is not None and self._bucket.left(now=now) >= max(cost, self.config.burst / 2):
            self._empty_since = None
        if not self._bucket.take(now=now, cost=cost):
            return Verdict.ACCEPT
        if since is None:
            self._empty_since = since = now
        return Verdict.FLOOD if now - since >= self.config.patience_s else Verdict.DROP
