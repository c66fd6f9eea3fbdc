"""How many calls each tenant has: those that heartbeats list, and those placed by this process since then.

A media process numbers its calls. Its answer has the call's number, and its heartbeats the number of its newest call:
a call is counted from its offer until a heartbeat knows that number, and from then on while heartbeats list it. So one
signaling process never exceeds a limit; with several, each may place calls that the others learn of a moment later.
"""

from dataclasses import dataclass, field
from math import inf

from services.contracts.ids import CallId, ProcessId, TenantId
from services.contracts.messages import Heartbeat, TenantCalls
from services.signaling.core.limits import Limited
from services.signaling.core.placement import FRESH_S

RETRY_S = {Limited.CALLS: 5.0, Limited.HALF_OPEN: 1.0}
"""Wait to suggest: it is not known when a call ends; a half-open one connects within a second, or ends after ten."""


@dataclass(frozen=True, slots=True)
class CallQuota:
    """A number of calls, and how many of them are answered or about to be, but not connected."""

    calls: int
    half_open: int


@dataclass(slots=True)
class _Placed:
    """A call that no heartbeat lists yet. ``process`` None: it has no answer."""

    process: ProcessId | None = None
    number: int = 0
    until: float = inf


@dataclass(frozen=True, slots=True)
class _Reported:
    received_at: float
    newest: int
    tenants: dict[TenantId, TenantCalls]


@dataclass(slots=True)
class LiveCalls:
    """The calls of all tenants. ``now`` is monotonic seconds."""

    _reported: dict[ProcessId, _Reported] = field(default_factory=dict)
    _placed: dict[TenantId, dict[CallId, _Placed]] = field(default_factory=dict)
    _hung_up: dict[CallId, float] = field(default_factory=dict)
    """Calls that heartbeats may still list, and until when."""

    def on_heartbeat(self, heartbeat: Heartbeat, *, now: float) -> None:
        """Replace what is known of a media process by what its newest heartbeat lists."""
        tenants = {of.tenant: of for of in heartbeat.calls}
        self._reported[heartbeat.process] = _Reported(now, heartbeat.newest, tenants)
        self._forget(now)

    def reserve(self, tenant: TenantId, call: CallId, *, allowed: CallQuota, now: float) -> Limited | None:
        """Count ``call`` until `release`; place it only if this returns None, else the limit is reached."""
        counted = self.of(tenant, now=now)
        if counted.calls >= allowed.calls:
            return Limited.CALLS
        if counted.half_open >= allowed.half_open:
            return Limited.HALF_OPEN
        self._placed.setdefault(tenant, {})[call] = _Placed()
        return None

    def answered(self, tenant: TenantId, call: CallId, process: ProcessId, number: int, *, now: float) -> None:
        """Count a reserved call until the heartbeats of ``process`` do; ``number`` is the one that it gave the call."""
        if placed := self._placed.get(tenant, {}).get(call):
            placed.process, placed.number, placed.until = process, number, now + FRESH_S
            self._forget(now)

    def release(self, tenant: TenantId, call: CallId) -> None:
        """Stop counting a reserved call unless it was answered."""
        placed = self._placed.get(tenant, {})
        if call in placed and placed[call].process is None:
            self._drop(tenant, call)

    def hung_up(self, call: CallId, *, now: float) -> None:
        """Stop counting a call that its media process has ended."""
        self._hung_up[call] = now + FRESH_S

    def of(self, tenant: TenantId, *, now: float) -> CallQuota:
        """Return how many calls the tenant has. Those of a media process that has fallen silent do not count."""
        self._forget(now)
        connected: set[CallId] = set()
        half_open = set(self._placed.get(tenant, ()))
        for reported in self._reported.values():
            if listed := reported.tenants.get(tenant):
                connected.update(listed.connected)
                half_open.update(listed.half_open)
        connected.difference_update(self._hung_up)
        half_open.difference_update(self._hung_up, connected)
        return CallQuota(len(connected) + len(half_open), len(half_open))

    def _forget(self, now: float) -> None:
        self._reported = {
            p: reported for p, reported in self._reported.items() if now - reported.received_at <= FRESH_S
        }
        over = [
            (t, c) for t, calls in self._placed.items() for c, placed in calls.items() if self._is_known(placed, now)
        ]
        for tenant, call in over:
            self._drop(tenant, call)
        self._hung_up = {call: until for call, until in self._hung_up.items() if now <= until}

    def _is_known(self, placed: _Placed, now: float) -> bool:
        reported = self._reported.get(placed.process) if placed.process else None
        return now > placed.until or (reported is not None and reported.newest >= placed.number)

    def _drop(self, tenant: TenantId, call: CallId) -> None:
        del self._placed[tenant][call]
        if not self._placed[tenant]:
            del self._placed[tenant]
