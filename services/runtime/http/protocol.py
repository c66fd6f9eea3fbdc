"""uvicorn's HTTP protocol with limits on the time and size of a request, and on pipelining."""

import ssl

import httptools
from uvicorn import Config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from services.runtime.http import head
from services.runtime.http.apps import BUSY, CLOSED, RefusalLogger, RefuseAll
from services.runtime.http.connections import Connections, HttpLimits
from services.runtime.http.head import Refusal
from services.runtime.http.transport import BoundedConnection
from services.runtime.telemetry import metrics

_MAX_PIPELINED = 8
_FREE_CHUNKS = 4096
_MEAN_CHUNK_BYTES = 64  # beyond the chunks that are free
_MAX_UNREAD_BYTES = 1 << 20
"""Of a body whose request is already answered: read and discarded, so that the client reads the answer."""
_LINGER_S = 2.0


class _RefusedError(Exception):
    """Stops the parser at a message that is refused; ``refusal`` None: without an answer."""

    def __init__(self, refusal: Refusal | None) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that keeps the place of the HTTP connection it was upgraded from."""

    origin: "HttpConnection"

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's place."""
        super().connection_lost(exc)
        self.origin.release_place()


class HttpConnection(BoundedConnection):
    """One connection and its requests, one after the other."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        connections: Connections,
        limits: HttpLimits,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(config, server_state, connections=connections, limits=limits, tls=tls)
        self._served = self.app
        self._opened = False
        self._early = b""
        self._deaf = False
        """Whether further input is discarded instead of parsed."""
        self._in_head = True
        self._head_bytes = self._fields_bytes = self._unread_bytes = 0
        self._chunks = self._body_bytes = 0

    def opened(self) -> None:
        """Wait for the first request; with TLS its first bytes may already be here."""
        self._opened = True
        self._wait_for_head()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        if not self._opened:  # they arrived with the end of the handshake
            self._early += data
            return
        if self._deaf:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            if self._deadline is None:
                self._wait_for_head()
            self._head_bytes += len(data)
        elif self._running is not None and self.cycle.response_complete:
            self._discard(len(data))
        self._feed(data)
        if self._in_head and self._head_bytes > head.MAX_HEAD_BYTES and not self._deaf:
            self.refuse(head.HEAD_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade(data[exc.args[0] :])
        except httptools.HttpParserCallbackError as exc:
            cause = exc.__cause__ or exc.__context__
            if not isinstance(cause, _RefusedError):
                self.refuse(head.MALFORMED)
            elif cause.refusal is not None:
                self.refuse(cause.refusal)
        except httptools.HttpParserError:
            self.refuse(head.MALFORMED)

    def _discard(self, size: int) -> None:
        self._unread_bytes += size
        if self._unread_bytes > _MAX_UNREAD_BYTES:
            self._abort("unread_body")

    def _upgrade(self, rest: bytes) -> None:
        if not self._should_upgrade():
            # A server may ignore it (RFC 9110 §7.8), but httptools skips the body then. Java's client always asks.
            request_line = b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)
            fields = [b"%s: %s" % field for field in self.headers if field[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._feed(b"\r\n".join([request_line, *fields, b"", rest]))
            return
        self._stop_waiting()
        self.handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        if isinstance(protocol, WebSocket):
            protocol.origin = self

    def on_message_begin(self) -> None:
        """Start the head's deadline."""
        if self._deaf:
            raise _RefusedError(None)
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise _RefusedError(head.PIPELINED)
        self._fields_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Append a part of the request target."""
        super().on_url(url)
        if len(self.url) > head.MAX_TARGET_BYTES:
            raise _RefusedError(head.TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a head field, or drop a field of a chunked body's trailer."""
        self._fields_bytes += len(name) + len(value) + 4
        if not self._in_head:
            if self._fields_bytes > head.MAX_HEAD_BYTES:
                raise _RefusedError(head.HEAD_TOO_LARGE)
            return
        super().on_header(name, value)
        if len(self.headers) > head.MAX_FIELDS or self._fields_bytes > head.MAX_HEAD_BYTES:
            raise _RefusedError(head.HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Pass the request to the application, unless it is refused."""
        version = self.parser.get_http_version()
        found = head.fault(self.headers, version=version, target=self.url)
        if found is not None:
            raise _RefusedError(found)
        upgrades = self.parser.should_upgrade() and self._should_upgrade()
        if self.parser.should_upgrade() and not upgrades:
            return
        self._stop_waiting()
        busy = BUSY.get(self._table.mark_busy(self) or "")
        if upgrades and busy is not None:
            raise _RefusedError(busy)
        self.app = self._served if busy is None else RefuseAll(self._served, busy)
        super().on_headers_complete()
        self._in_head = False
        self._head_bytes = self._fields_bytes = self._chunks = self._body_bytes = self._unread_bytes = 0
        if upgrades:
            return
        if self.expect_100_continue:  # answered without 100, the client may or may not send its body: RFC 9110 §10.1.1
            self.cycle.keep_alive = False
        self._deadline = self.loop.call_later(self._limits.body_timeout_s + 1, self.refuse, head.BODY_TIMEOUT)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, RefusalLogger(app))

    def on_chunk_header(self) -> None:
        """Charge for the chunk: each costs as much as many bytes."""
        self._chunks += 1
        if self._chunks > _FREE_CHUNKS + self._body_bytes // _MEAN_CHUNK_BYTES:
            raise _RefusedError(head.SMALL_CHUNKS)

    def on_body(self, body: bytes) -> None:
        """Append a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; another may follow."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._stop_waiting()
        self._in_head = True
        self._fields_bytes = 0
        if not self.parser.should_keep_alive():
            self._deaf = True
        if self._running is not None and self._running.response_complete and not self.transport.is_closing():
            self._wait_for_request()

    def on_response_complete(self) -> None:
        """Wait for the next request, or read the rest of this one."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._table.mark_waiting(self)
            self._watch_writing()
        elif self._running is not None and self._running.response_complete:
            self._wait_for_request()

    def _wait_for_request(self) -> None:
        if self._deadline is not None:  # a part of a head has come, or a part of the body is still to come
            self._unset_keepalive_if_required()
            self._table.mark_waiting(self)
            return
        self._table.mark_idle(self)
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    # --- deadlines and refusals -------------------------------------------------------------------------------

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_timeout_s, self._head_is_late)
        if self._running is None or self._running.response_complete:
            self._table.mark_waiting(self)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._head_bytes:
            self.refuse(head.HEAD_TIMEOUT)
        else:
            self._abort("head_timeout")

    def refuse(self, refusal: Refusal) -> None:
        """Answer with ``refusal`` and read nothing more. Requests received before it are answered first."""
        metrics.HTTP_REFUSED.labels(refusal.reason).inc()
        self._stop_waiting()
        self._unset_keepalive_if_required()
        self._deaf = True
        running = self._running if self._running is not None and not self._running.response_complete else None
        if running is not None and (self._in_head or running is not self.cycle):
            if not self._in_head:
                self.pipeline.popleft()
            (self.pipeline[0][0] if self.pipeline else running).keep_alive = False
            return
        if running is not None:
            running.scope["state"][CLOSED] = refusal
            running.disconnected = True
            running.message_event.set()
        if running is None and self.cycle is not None and not self._in_head:
            self._close()  # the answer is sent; the rest of the body was refused
            return
        if running is None or not running.response_started:
            self.transport.write(refusal.answer())
        self._linger()

    def _linger(self) -> None:
        """Close so that the client can read the answer: TCP would reset a connection with unread bytes."""
        self._table.mark_waiting(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._deadline = self.loop.call_later(_LINGER_S, self.transport.abort)
        else:
            self._close()
