"""What began and ended, for whoever wants to know later: JetStream `CALLS`."""

import asyncio

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from services.contracts import subjects
from services.contracts.messages import CallEnded, CallStarted
from services.media import metrics
from services.runtime import tracing
from services.runtime.bus import Bus
from services.runtime.logging import get_logger

_TRIES = 3
_PUBLISH_S = 2.0


class History:
    """Writes call records; a record that JetStream does not take is counted and logged, and the call goes on."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def started(self, record: CallStarted) -> None:
        """A call was answered."""
        await self._write(subjects.call_started(record.process), record)

    async def ended(self, record: CallEnded) -> None:
        """A call is over."""
        await self._write(subjects.call_ended(record.process), record)

    async def _write(self, subject: str, record: CallStarted | CallEnded) -> None:
        # The id makes a retry harmless: the stream keeps one of two with the same.
        headers = {"Nats-Msg-Id": f"{record.call}-{record.type}", **(tracing.outgoing() or {})}
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
