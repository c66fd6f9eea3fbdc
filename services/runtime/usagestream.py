"""`USAGE` as an outbox sees it: events go in, and it can be asked whether one may still be there."""

import asyncio
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.api import Header
from nats.js.errors import NotFoundError

from services.contracts import subjects
from services.contracts.subjects import UsageRole
from services.contracts.usage import UsageEvent
from services.runtime.bus import Bus
from services.runtime.logging import get_logger

_TIMEOUT_S = 2.0
_MIN_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class UsageStream:
    """The stream, for one process; metering makes it."""

    _bus: Bus
    _role: UsageRole
    _process: str

    @property
    def connected(self) -> bool:
        """It can be asked."""
        return self._bus.connected

    def watermarks(self, source: str) -> str:
        """Where metering says what it has of our outbox ``source``."""
        return subjects.watermark(self._process, source)

    async def publish(self, event: UsageEvent, *, message_id: str) -> int:
        """Try until the stream has it; gives its place there. Within its window it takes a ``message_id`` once."""
        pause, body = _MIN_PAUSE_S, event.encode()
        headers = {Header.MSG_ID.value: message_id}
        subject = subjects.usage(self._role, self._process, event.subject)
        while True:
            # nats-py would keep it while the server is away, and time it out here: it would arrive twice.
            if self._bus.connected:
                try:
                    ack = await self._bus.jetstream.publish(
                        subject, body, timeout=_TIMEOUT_S, stream=subjects.USAGE_STREAM, headers=dict(headers)
                    )
                except NatsError as exc:  # away, slow, full, or not made yet: all pass
                    if pause == _MIN_PAUSE_S:
                        get_logger().warning("outbox_waits", reason="stream", error=str(exc) or type(exc).__name__)
                else:
                    return int(ack.seq)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_S)

    async def has(self, place: int, *, since_unix_ms: int) -> bool:
        """Whether what was published then, at this place, may still be there. Nobody reads others' usage to know it.

        Raises:
            nats.errors.Error: the server does not say.
        """
        try:
            info = await self._bus.jetstream.stream_info(subjects.USAGE_STREAM)
        except NotFoundError:
            return False
        # A stream that was made anew counts from 1 again. A clock that is wrong costs a copy, which the ledger knows.
        same = info.created is None or info.created.timestamp() * 1000 <= since_unix_ms
        return same and info.state.first_seq <= place <= info.state.last_seq
