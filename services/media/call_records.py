"""Records of started and ended calls, in the JetStream stream `CALLS`."""

import asyncio

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from services.contracts import subjects
from services.contracts.call_history import CallEnded, CallStarted
from services.media import metrics
from services.runtime.bus.client import Bus
from services.runtime.telemetry import tracing
from services.runtime.telemetry.logging import get_logger

_TRIES = 3
_PUBLISH_S = 2.0


class CallRecords:
    """Writes call records; one that JetStream does not accept is counted and logged, and the call goes on."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def started(self, record: CallStarted) -> None:
        """Write the record of an answered call. Does not raise."""
        await self._write(subjects.call_started(record.process), record)

    async def ended(self, record: CallEnded) -> None:
        """Write the record of an ended call. Does not raise."""
        await self._write(subjects.call_ended(record.process), record)

    async def _write(self, subject: str, record: CallStarted | CallEnded) -> None:
        # The message id makes a retry idempotent: the stream drops duplicates.
        headers = {"Nats-Msg-Id": f"{record.call}-{record.type}", **(tracing.outgoing_headers() or {})}
        for _ in range(_TRIES):
            try:
                async with asyncio.timeout(_PUBLISH_S):
                    await self._bus.jetstream.publish(subject, record.encode(), headers=headers)
            except (NatsError, JetStreamError, TimeoutError) as exc:
                cause = type(exc).__name__
            else:
                return
        metrics.HISTORY_FAILED.inc()
        get_logger().error("call_record_lost", call_id=record.call, record=record.type, reason=cause)
