"""`USAGE` as an outbox uses it: publishes events, and checks whether one may still be stored."""

import asyncio
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import NotFoundError

from services.contracts import subjects
from services.contracts.subjects import UsageRole
from services.contracts.usage import UsageEvent
from services.runtime.bus.client import Bus
from services.runtime.telemetry.logging import get_logger

_TIMEOUT_S = 2.0
_MIN_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class UsageStream:
    """The publisher's view of the stream, for one process; metering creates it."""

    _bus: Bus
    _role: UsageRole
    _process: str

    @property
    def connected(self) -> bool:
        """Whether the stream can be queried."""
        return self._bus.connected

    def watermarks(self, source: str) -> str:
        """The subject on which metering publishes its watermarks for the outbox ``source``."""
        return subjects.watermark(self._process, source)

    async def publish(self, event: UsageEvent, *, message_id: str) -> int:
        """Retry until the stream has it; returns its sequence. Within its window it drops a repeated ``message_id``."""
        pause, body = _MIN_PAUSE_S, event.encode()
        headers = {Header.MSG_ID.value: message_id}
        subject = subjects.usage(self._role, self._process, event.subject)
        while True:
            # nats-py would buffer it while disconnected and time it out here: it would arrive twice.
            if self._bus.connected:
                try:
                    ack = await self._bus.jetstream.publish(
                        subject, body, timeout=_TIMEOUT_S, stream=subjects.USAGE_STREAM, headers=dict(headers)
                    )
                except NatsError as exc:  # disconnected, slow, full, or not created yet: all transient
                    if pause == _MIN_PAUSE_S:
                        get_logger().warning("outbox_waits", reason="stream", error=str(exc) or type(exc).__name__)
                else:
                    return int(ack.seq)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_S)

    async def has(self, place: int, *, since_unix_ms: int) -> bool:
        """Whether the event published then, at this sequence, may still be stored; reads no other process's usage.

        Raises:
            nats.errors.Error: the server does not answer.
        """
        try:
            info = await self._bus.jetstream.stream_info(subjects.USAGE_STREAM)
        except NotFoundError:
            return False
        # A recreated stream counts from 1 again. A wrong clock costs a duplicate, which the ledger detects.
        same = info.created is None or info.created.timestamp() * 1000 <= since_unix_ms
        return same and info.state.first_seq <= place <= info.state.last_seq
