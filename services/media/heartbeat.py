"""Reports to signaling once a second that this process is alive, and its load."""

import asyncio

from services.contracts import subjects
from services.contracts.messages import Heartbeat
from services.media.pool import Pool, PoolConfig
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.process.version import installed_version

EVERY_S = 1.0


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
        """Publish a heartbeat every second until cancelled."""
        while True:
            await self.publish()
            due = clock.monotonic() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._lag_ms = max(0.0, clock.monotonic() - due) * 1000

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
        )
        await self._bus.publish(subjects.heartbeat(beat.process), beat)
