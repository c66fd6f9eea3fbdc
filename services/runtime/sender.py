"""Sends what was posted on a NATS connection, a few milliseconds together.

nats-py's `publish` is a coroutine that ends in a task switch and a system call of its own; with a hundred calls that
costs more than the frames. So posting only appends, and one task publishes what came together: at once when the
connection was quiet, else `FLUSH_S` after the last time. It uses nothing but the client's public interface.

What the socket does not take stays here, where it can be thrown away, and not in the client, which would send it after
a reconnection: nothing stale may arrive. The client keeps at most what came together within one `FLUSH_S`.
"""

import asyncio

from nats.aio.client import Client
from nats.errors import (
    ConnectionClosedError,
    ConnectionDrainingError,
    MaxPayloadError,
    OutboundBufferLimitError,
)

from services.runtime import clock, metrics
from services.runtime.logging import get_logger

FLUSH_S = 0.01
"""With 100 calls that talk all the time 25 frames share a system call, and none waits longer than this.
At 4 ms each slot of the media wheel would be a system call and a few task switches of its own."""
MAX_WAIT_S = 0.25
"""Audio that would wait for longer than this behind what the socket does not take is dropped. Not a number of bytes:
64 KiB, as it was, are 20 ms of a hundred calls that talk, and any short stall of the server cost words."""


class Sender:
    """Posts to one client, in order. `run` does the sending."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_since = 0.0  # when the first of them came
        self._work = asyncio.Event()
        self._flushing = asyncio.Lock()

    def post(self, subject: str, data: bytes) -> bool:
        """Send ``data`` soon; False, and counted, while the server is away: nothing is kept to arrive late.

        Raises:
            MaxPayloadError: the server would not take it.
        """
        if not self._client.is_connected:
            metrics.BUS_DROPPED.labels("disconnected").inc()
            return False
        if len(data) > self._client.max_payload:
            raise MaxPayloadError
        if not self._waiting:
            self._waiting_since = clock.monotonic()
        self._waiting.append((subject, data))
        self._work.set()
        return True

    def post_audio(self, subject: str, data: bytes) -> bool:
        """Send caller audio soon, or drop and count it while others have waited for a quarter of a second."""
        if self._waiting and self._stuck():
            metrics.BUS_DROPPED.labels("backlog").inc()
            return False
        return self.post(subject, data)

    def _stuck(self) -> bool:
        """The socket takes nothing."""
        return self._client.pending_data_size > 0 and clock.monotonic() - self._waiting_since > MAX_WAIT_S

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await self._work.wait()
            # The client still holds what the socket did not take: give it no more.
            if not (self._client.is_connected and self._client.pending_data_size):
                await self.flush()
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Hand all that waits to the client now."""
        async with self._flushing:
            batch, self._waiting = self._waiting, []
            self._work.clear()
            for subject, data in batch:
                await self._publish(subject, data)

    async def _publish(self, subject: str, data: bytes) -> None:
        try:
            await self._client.publish(subject, data)
        except (OutboundBufferLimitError, ConnectionClosedError, ConnectionDrainingError):
            metrics.BUS_DROPPED.labels("disconnected").inc()
        except Exception as exc:  # noqa: BLE001 - the edge of a task: one bad subject must not stop the others
            metrics.BUS_ERRORS.labels(type(exc).__name__).inc()
            get_logger().exception("bus_send_failed", subject=subject)
