"""`USAGE` as an outbox sees it: events go in, and it can be asked whether one is still there."""

import asyncio
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import NoStreamResponseError, NotFoundError

from services.contracts import subjects
from services.contracts.usage import UsageEvent
from services.runtime import streams
from services.runtime.bus import Bus
from services.runtime.errors import StoreTooSmallError
from services.runtime.logging import get_logger

_TIMEOUT_S = 2.0
_MIN_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class UsageStream:
    """Made of a bus; the stream itself is made when it is found missing."""

    _bus: Bus

    @property
    def connected(self) -> bool:
        """It can be asked."""
        return self._bus.connected

    async def publish(self, event: UsageEvent, *, message_id: str) -> int:
        """Try until the stream has it; gives its place there. Within its window it takes a ``message_id`` once."""
        pause, body = _MIN_PAUSE_S, event.encode()
        headers = {Header.MSG_ID.value: message_id}
        subject = subjects.usage(event.subject)
        while True:
            # nats-py would keep it while the server is away, and time it out here: it would arrive twice.
            if self._bus.connected:
                try:
                    ack = await self._bus.jetstream.publish(
                        subject, body, timeout=_TIMEOUT_S, stream=subjects.USAGE_STREAM, headers=dict(headers)
                    )
                except NoStreamResponseError:
                    await self._make()
                except NatsError as exc:  # away, slow, or the stream is full: all pass
                    if pause == _MIN_PAUSE_S:
                        get_logger().warning("outbox_waits", reason="stream", error=str(exc))
                else:
                    return int(ack.seq)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_S)

    async def has(self, event_id: str, *, place: int) -> bool:
        """Whether the event is still at its place, under whatever message id that begins with its own.

        Raises:
            nats.errors.Error: the server does not say.
        """
        try:
            found = await self._bus.jetstream.get_msg(subjects.USAGE_STREAM, place)
        except NotFoundError:
            return False
        # A stream that was made anew counts from 1 again.
        message_id: str = (found.headers or {}).get(Header.MSG_ID.value, "")
        return message_id.startswith(event_id)

    async def _make(self) -> None:
        try:
            await streams.ensure_usage_stream(self._bus.jetstream, store_mb=self._bus.store_mb)
        except (NatsError, StoreTooSmallError) as exc:
            get_logger().warning("outbox_waits", reason="no_stream", error=str(exc))
