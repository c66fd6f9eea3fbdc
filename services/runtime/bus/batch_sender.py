"""Publishes messages on a NATS connection in batches of a few milliseconds.

nats-py's `publish` is a coroutine that ends in a task switch and a system call of its own; with a hundred calls that
costs more than the frames. So `post` only appends, and one task publishes what was appended: at once when the
connection was idle, else `FLUSH_S` after the last flush. It uses only the client's public interface.

While the socket is not writable, messages stay here, where they can be dropped, and not in the client, which would
send them after a reconnect: stale audio must not arrive. The client buffers at most one batch.
"""

import asyncio

from nats.aio.client import Client
from nats.errors import (
    ConnectionClosedError,
    ConnectionDrainingError,
    MaxPayloadError,
    OutboundBufferLimitError,
)

from services.runtime import clock
from services.runtime.telemetry import metrics
from services.runtime.telemetry.logging import get_logger

FLUSH_S = 0.01
"""With 100 calls that all talk, 25 frames share a system call, and none waits longer than this.
At 4 ms each slot of the media wheel would cost a system call and a few task switches of its own."""
MAX_WAIT_S = 0.25
"""Audio that would wait longer than this for a socket that is not writable is dropped. Not a number of bytes:
the former bound of 64 KiB was 20 ms of a hundred talking calls, and any short server stall dropped speech."""


class BatchSender:
    """Publishes to one client, in order. `run` does the sending."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: list[tuple[str, bytes]] = []
        self._waiting_since = 0.0  # when the first pending message was posted
        self._work = asyncio.Event()
        self._flushing = asyncio.Lock()

    def post(self, subject: str, data: bytes) -> bool:
        """Queue ``data`` for publishing; False, and counted as dropped, while disconnected: late messages are not kept.

        Raises:
            MaxPayloadError: ``data`` exceeds the server's limit.
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
        """Queue caller audio; drop and count it when messages have been pending for a quarter of a second."""
        if self._waiting and self._is_blocked():
            metrics.BUS_DROPPED.labels("backlog").inc()
            return False
        return self.post(subject, data)

    def _is_blocked(self) -> bool:
        """Whether the socket is not writable."""
        return self._client.pending_data_size > 0 and clock.monotonic() - self._waiting_since > MAX_WAIT_S

    async def run(self) -> None:
        """Publish posted messages until cancelled."""
        while True:
            await self._work.wait()
            # The client still buffers unsent bytes: give it no more.
            if not (self._client.is_connected and self._client.pending_data_size):
                await self.flush()
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Publish all posted messages now."""
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
