"""Reports to signaling that this process is alive, its load, and its calls."""

import asyncio

from services.contracts import subjects
from services.contracts.ids import CallId, TenantId
from services.contracts.messages import Heartbeat, TenantCalls
from services.media.pool import Pool, PoolConfig
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.process.version import installed_version

STEP_S = 0.1
STEPS = 10
"""Steps between two heartbeats while no call begins, connects or ends: a second."""


class HeartbeatPublisher:
    """Publishes the heartbeats of one process."""

    def __init__(self, pool: Pool, config: PoolConfig, *, bus: Bus, zone: str, http_url: str) -> None:
        self._pool = pool
        self._config = config
        self._bus = bus
        self._zone = zone
        self._http_url = http_url
        self._version = installed_version()
        self._lag_ms = 0.0

    async def keep_publishing(self) -> None:
        """Publish a heartbeat every second, and within `STEP_S` of a change of the calls, until cancelled."""
        while True:
            published = self._calls()
            await self.publish()
            for _ in range(STEPS):
                due = clock.monotonic() + STEP_S
                await asyncio.sleep(STEP_S)
                self._lag_ms = max(0.0, clock.monotonic() - due) * 1000
                if self._calls() != published:
                    break

    async def publish(self) -> None:
        """Publish one heartbeat now."""
        beat = Heartbeat(
            process=self._config.process,
            zone=self._zone,
            version=self._version,
            draining=self._pool.admission.draining,
            active=self._pool.admission.active,
            reserved=self._pool.admission.reserved,
            capacity=self._config.capacity,
            loop_lag_ms=self._lag_ms,
            http_url=self._http_url,
            newest=self._pool.newest,
            calls=self._by_tenant(),
            turns=self._config.turns,
        )
        await self._bus.publish(subjects.heartbeat(beat.process), beat)

    def _calls(self) -> list[tuple[CallId, bool]]:
        return [(call.facts.id, call.connected) for call in self._pool.calls()]

    def _by_tenant(self) -> tuple[TenantCalls, ...]:
        ids: dict[TenantId, tuple[list[CallId], list[CallId]]] = {}
        for call in self._pool.calls():
            ids.setdefault(call.facts.tenant, ([], []))[call.connected].append(call.facts.id)
        return tuple(
            TenantCalls(tenant=tenant, half_open=tuple(half_open), connected=tuple(connected))
            for tenant, (half_open, connected) in ids.items()
        )
