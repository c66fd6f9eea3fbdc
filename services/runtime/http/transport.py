"""The connection under uvicorn's HTTP protocol: limits on number, handshake time and unsent output."""

import asyncio
import ssl

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from services.runtime.http.apps import CLIENT_GONE, CLOSED
from services.runtime.http.connections import Connections, HttpLimits, plain_address
from services.runtime.telemetry import metrics


class BoundedConnection(HttpToolsProtocol):
    """A connection without request handling; `opened` is called when requests may arrive."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        connections: Connections,
        limits: HttpLimits,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(config, server_state, {})
        self._table = connections
        self._limits = limits
        self._tls = tls
        self._running: RequestResponseCycle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        """Runs while we wait for the client to send."""
        self._write_deadline: asyncio.TimerHandle | None = None
        """Runs while we wait for the client to read."""

    def opened(self) -> None:
        """Called when requests may arrive: uvicorn is ready, and the TLS handshake, if any, is done."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Take a place, then start TLS, or the first request at once."""
        self.transport = transport
        peer = transport.get_extra_info("peername")
        reason = self._table.admit(self, plain_address(str(peer[0])) if peer else "")
        if reason is not None:
            metrics.HTTP_REFUSED.labels(reason).inc()
            transport.abort()
            return
        if self._tls is None:
            self._open(transport)
            return
        self.connections.add(self)
        transport.pause_reading()
        task = self.loop.create_task(self._handshake(transport, self._tls), name="tls-handshake")
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _handshake(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        try:
            secured = await self.loop.start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=self._limits.head_timeout_s,
                ssl_shutdown_timeout=self._limits.write_timeout_s,
            )
        except OSError:  # TimeoutError and ssl.SSLError are ones
            metrics.HTTP_REFUSED.labels("tls").inc()
            transport.abort()
            self.connections.discard(self)
            self.release_place()
            return
        if secured is not None and not secured.is_closing():
            self._open(secured)

    def _open(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if self.client is not None:
            self.client = (plain_address(self.client[0]), self.client[1])
        self.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place; a request that is being handled is notified."""
        running = self._running
        super().connection_lost(exc)
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.scope["state"].setdefault(CLOSED, CLIENT_GONE)
            running.message_event.set()
        self.pipeline.clear()
        for timer in (self._deadline, self._write_deadline, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        self.release_place()

    def release_place(self) -> None:
        """Release the place for another connection."""
        self._table.release(self)

    def evict(self) -> None:
        """Close at once, to free the place for another connection."""
        metrics.HTTP_REFUSED.labels("evicted").inc()
        self.transport.abort()

    def _abort(self, reason: str) -> None:
        metrics.HTTP_REFUSED.labels(reason).inc()
        self.transport.abort()

    def _close(self) -> None:
        """Close after the written output is sent, or after a time limit."""
        self.transport.close()
        self._watch_writing()

    def _watch_writing(self) -> None:
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(self._limits.write_timeout_s, self._abort, "write_timeout")

    def pause_writing(self) -> None:
        """Start the time limit for a client that does not read."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Stop the time limit: the client reads again."""
        super().resume_writing()
        if self._write_deadline is not None and not self.transport.is_closing():
            self._write_deadline.cancel()
            self._write_deadline = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for too long."""
        if not self.transport.is_closing():
            self._close()
