"""Effects of a bad network on each datagram, computed without a socket or a clock.

The same seed and the same datagrams meet the same fate. Media and all else (STUN, DTLS, RTCP) draw from random streams
of their own, so that the moment of an ICE check does not change which speech is lost. For media a burst lasts a number
of datagrams; for all else, of which a few come in a second, as long as those would take, or it would outlast a call.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Literal

Lane = Literal["media", "control"]
LossCause = Literal["loss", "burst", "blackout"]

_STEP_S = 0.02  # from one datagram of media to the next
_RTP_FIRST = range(128, 192)  # RFC 7983, section 7
_RTP_HEADER_BYTES = 12
_RTCP_TYPES = range(192, 224)  # RFC 5761, section 4


@dataclass(frozen=True, slots=True)
class Burst:
    """Loss in bursts (Gilbert-Elliott): chances per datagram to enter a burst, to leave it, and of loss in it."""

    enter: float
    leave: float
    loss: float = 1.0

    def chance(self, *, in_burst: bool, steps: int) -> float:
        """Probability of being in a burst ``steps`` datagrams later."""
        share = self.enter / (self.enter + self.leave)
        return share + (in_burst - share) * (1 - self.enter - self.leave) ** steps

    @classmethod
    def of(cls, *, loss: float, length: float) -> "Burst":
        """Bursts of ``length`` datagrams on average, so many that ``loss`` of all are lost."""
        leave = 1 / length
        return cls(loss * leave / (1 - loss), leave)


@dataclass(frozen=True, slots=True)
class Blackout:
    """Nothing passes from ``from_s`` to ``until_s``, in the seconds of `ImpairedDirection.decide`."""

    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """One direction of a network. Shares are 0 to 1.

    A datagram is late by ``delay_ms`` and by 0 to ``jitter_ms`` more. With ``keeps_order`` none overtakes another, as
    in a queue. ``reorder`` of them are held back by ``reorder_ms``, and those behind pass.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    keeps_order: bool = True
    loss: float = 0.0
    burst: Burst | None = None
    reorder: float = 0.0
    reorder_ms: float = 50.0
    blackouts: tuple[Blackout, ...] = ()


CLEAN = Conditions()


@dataclass(frozen=True, slots=True)
class Pass:
    """The datagram arrives at ``at`` seconds."""

    at: float


@dataclass(frozen=True, slots=True)
class Drop:
    """The datagram never arrives."""

    reason: LossCause


Fate = Pass | Drop


@dataclass(slots=True)
class Counts:
    """Datagrams by outcome. ``media`` counts RTP datagrams, including lost ones."""

    came: int = 0
    media: int = 0
    passed: int = 0
    reordered: int = 0
    lost: int = 0
    lost_in_bursts: int = 0
    lost_in_blackouts: int = 0


@dataclass(slots=True)
class _Stream:
    """Random numbers of one lane. Four draws per datagram, whatever the conditions: changing one keeps the others."""

    random: Random
    in_burst: bool = False
    at: float = 0.0


@dataclass(slots=True)
class ImpairedDirection:
    """One direction. ``dark`` is a blackout set by hand; ``conditions`` may be replaced at any time."""

    seed: str
    conditions: Conditions = CLEAN
    dark: bool = False
    counts: Counts = field(default_factory=Counts)
    _streams: dict[Lane, _Stream] = field(default_factory=dict)
    _newest: float = 0.0
    """When the last datagram that was not reordered arrives."""

    def decide(self, datagram: bytes, *, now: float) -> Fate:
        """Decide the fate of a datagram that is sent at ``now`` seconds."""
        kind = lane(datagram)
        self.counts.came += 1
        self.counts.media += kind == "media"
        stream = self._streams.setdefault(kind, _Stream(Random(f"{self.seed} {kind}")))  # noqa: S311 - to be repeated
        lost, turn, late, held = (stream.random.random() for _ in range(4))
        steps = 1 if kind == "media" else max(1, round((now - stream.at) / _STEP_S))
        stream.at = now
        burst = self.conditions.burst
        stream.in_burst = burst is not None and turn < burst.chance(in_burst=stream.in_burst, steps=steps)
        reason = self._drop(stream, lost, now)
        if reason is not None:
            return Drop(reason)
        self.counts.passed += 1
        return Pass(self._arrival(late, now, held=held < self.conditions.reorder))

    def _drop(self, stream: _Stream, lost: float, now: float) -> LossCause | None:
        burst = self.conditions.burst
        if self.dark or any(b.from_s <= now < b.until_s for b in self.conditions.blackouts):
            self.counts.lost_in_blackouts += 1
            return "blackout"
        if burst is not None and stream.in_burst and lost < burst.loss:
            self.counts.lost_in_bursts += 1
            return "burst"
        if lost < self.conditions.loss:
            self.counts.lost += 1
            return "loss"
        return None

    def _arrival(self, late: float, now: float, *, held: bool) -> float:
        at = now + (self.conditions.delay_ms + late * self.conditions.jitter_ms) / 1000
        if held:
            self.counts.reordered += 1
            return at + self.conditions.reorder_ms / 1000
        if self.conditions.keeps_order:
            at = max(at, self._newest)
        self._newest = at
        return at


def lane(datagram: bytes) -> Lane:
    """Classify a datagram as RTP or other by its first bytes."""
    if len(datagram) >= _RTP_HEADER_BYTES and datagram[0] in _RTP_FIRST and datagram[1] not in _RTCP_TYPES:
        return "media"
    return "control"
