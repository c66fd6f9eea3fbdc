"""State shared by the parts of one WebRTC leg: its owner, whether it is closed, its client's CPU budget."""

import sys
from collections import deque

from services.contracts.endings import EndReason
from services.contracts.ids import LegId
from services.media import metrics
from services.media.core.network import rate_limiter
from services.media.core.network.rate_limiter import RateLimiter, Verdict
from services.media.leg import DiscardingOwner, LegClosed, LegInput, LegOwner
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger

MAX_EARLY_INPUTS = 256
"""Inputs before the call attaches: a few events at most."""


class _EarlyInputs:
    """The owner of a leg until its call attaches: buffers inputs for it."""

    def __init__(self) -> None:
        self.items: deque[LegInput] = deque(maxlen=MAX_EARLY_INPUTS)

    def on_leg_input(self, item: LegInput, *, now: float) -> None:  # noqa: ARG002 - as its interface
        """Buffer the input; the oldest are dropped beyond the limit."""
        self.items.append(item)

    def pull(self, frames: int = 1, *, now: float) -> bytes | None:  # noqa: ARG002 - as its interface
        """Return None: nothing is played yet."""
        return None


_DISCARDING_OWNER = DiscardingOwner()


class OwnerLink:
    """Connects the parts of a leg to its owner. Deliver frames to ``owner`` directly, all else by `hand_up`."""

    def __init__(self, leg: LegId) -> None:
        self._leg = leg
        self._early = _EarlyInputs()
        self._cpu = RateLimiter(rate_limiter.CPU)
        self.owner: LegOwner = self._early
        """The call; before it attaches an owner that buffers inputs, after the end one that discards them."""
        self.closed = False
        self.flooded = False
        """Whether the leg is being closed for a flood; nothing more of its client is read."""

    def attach(self, owner: LegOwner) -> None:
        """Deliver inputs to ``owner`` from now on, and the buffered ones at once."""
        if not self.closed:
            self.owner = owner
        early = self._early.items
        while early:
            owner.on_leg_input(early.popleft(), now=clock.monotonic())

    def hand_up(self, item: LegInput, now: float | None = None) -> None:
        """Deliver ``item`` to the owner, at ``now`` or the present time; nothing follows a `LegClosed`."""
        if self.closed:
            return
        owner = self.owner
        if isinstance(item, LegClosed):
            self.closed = True
            self.owner = _DISCARDING_OWNER
        owner.on_leg_input(item, now=clock.monotonic() if now is None else now)

    def fail(self, stage: str, reason: EndReason) -> None:
        """Close the leg with ``reason`` after a failure in ``stage``. An exception being handled is logged."""
        if self.closed:
            return
        metrics.LEG_ERRORS.labels(stage).inc()
        failure = sys.exception()
        get_logger().warning("leg_failed", stage=stage, leg=self._leg, reason=reason, exc_info=failure)
        if reason is EndReason.FLOOD:
            self.flooded = True
        self.hand_up(LegClosed(reason))

    def charge_cpu(self, began_cpu_s: float, *, now: float) -> None:
        """Charge the CPU time since ``began_cpu_s`` to the client; beyond its budget the leg closes for a flood."""
        if self._cpu.check(now=now, cost=clock.cpu_s() - began_cpu_s) is not Verdict.ACCEPT:
            self.fail("cpu", EndReason.FLOOD)
