"""uvicorn's HTTP protocol with bounds: on the time and the bytes of a request, and on what is sent before an answer."""

import ssl

import httptools
from uvicorn import Config
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from services.runtime import httphead, metrics
from services.runtime.httpapps import BUSY, CLOSED, Refusing, Watched
from services.runtime.httpconnections import Connections, HttpLimits
from services.runtime.httphead import Refusal
from services.runtime.httptransport import BoundedConnection

_MAX_PIPELINED = 8
_FREE_CHUNKS = 4096
_MEAN_CHUNK_BYTES = 64  # of those beyond the free ones
_MAX_UNREAD_BYTES = 1 << 20
"""Of a body whose request is answered already: read and thrown away, so that the client reads the answer."""
_LINGER_S = 2.0


class _RefusedError(Exception):
    """Takes the parser out of a message that is refused; None: which is not even answered."""

    def __init__(self, refusal: Refusal | None) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class WebSocket(WebSocketsSansIOProtocol):
    """Keeps the place of the HTTP connection that it came from."""

    origin: "HttpConnection"

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self.origin.give_back()


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
        """Nothing is read any more, but thrown away."""
        self._in_head = True
        self._head_bytes = self._fields_bytes = self._unread_bytes = 0
        self._chunks = self._body_bytes = 0

    def opened(self) -> None:
        """Wait for the first request; with TLS it may have come already."""
        self._opened = True
        self._wait_for_head()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        if not self._opened:  # they came with the end of the handshake
            self._early += data
            return
        if self._deaf:
            self._throw_away(len(data))
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            if self._deadline is None:
                self._wait_for_head()
            self._head_bytes += len(data)
        elif self._running is not None and self.cycle.response_complete:
            self._throw_away(len(data))
        self._feed(data)
        if self._in_head and self._head_bytes > httphead.MAX_HEAD_BYTES and not self._deaf:
            self.refuse(httphead.HEAD_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._upgrade(data[exc.args[0] :])
        except httptools.HttpParserCallbackError as exc:
            cause = exc.__cause__ or exc.__context__
            if not isinstance(cause, _RefusedError):
                self.refuse(httphead.MALFORMED)
            elif cause.refusal is not None:
                self.refuse(cause.refusal)
        except httptools.HttpParserError:
            self.refuse(httphead.MALFORMED)

    def _throw_away(self, size: int) -> None:
        self._unread_bytes += size
        if self._unread_bytes > _MAX_UNREAD_BYTES:
            self._cut("unread_body")

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
        """A head begins."""
        if self._deaf:
            raise _RefusedError(None)
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise _RefusedError(httphead.PIPELINED)
        self._fields_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        super().on_url(url)
        if len(self.url) > httphead.MAX_TARGET_BYTES:
            raise _RefusedError(httphead.TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer behind a chunked body, which nobody reads."""
        self._fields_bytes += len(name) + len(value) + 4
        if not self._in_head:
            if self._fields_bytes > httphead.MAX_HEAD_BYTES:
                raise _RefusedError(httphead.HEAD_TOO_LARGE)
            return
        super().on_header(name, value)
        if len(self.headers) > httphead.MAX_FIELDS or self._fields_bytes > httphead.MAX_HEAD_BYTES:
            raise _RefusedError(httphead.HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless it is to be refused."""
        version = self.parser.get_http_version()
        found = httphead.fault(self.headers, version=version, target=self.url)
        if found is not None:
            raise _RefusedError(found)
        upgrades = self.parser.should_upgrade() and self._should_upgrade()
        if self.parser.should_upgrade() and not upgrades:
            return
        self._stop_waiting()
        busy = BUSY.get(self._table.busy(self) or "")
        if upgrades and busy is not None:
            raise _RefusedError(busy)
        self.app = self._served if busy is None else Refusing(self._served, busy)
        super().on_headers_complete()
        self._in_head = False
        self._head_bytes = self._fields_bytes = self._chunks = self._body_bytes = self._unread_bytes = 0
        if upgrades:
            return
        if self.expect_100_continue:  # answered without 100, the client may or may not send its body: RFC 9110 §10.1.1
            self.cycle.keep_alive = False
        self._deadline = self.loop.call_later(self._limits.body_timeout_s + 1, self.refuse, httphead.BODY_TIMEOUT)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, Watched(app))

    def on_chunk_header(self) -> None:
        """Each costs as much as many bytes do."""
        self._chunks += 1
        if self._chunks > _FREE_CHUNKS + self._body_bytes // _MEAN_CHUNK_BYTES:
            raise _RefusedError(httphead.SMALL_CHUNKS)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here, and another may follow."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._stop_waiting()
        self._in_head = True
        self._fields_bytes = 0
        if not self.parser.should_keep_alive():
            self._deaf = True
        if self._running is not None and self._running.response_complete and not self.transport.is_closing():
            self._rest()

    def on_response_complete(self) -> None:
        """The answer is written: rest, or read what is left of the request."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._table.waiting(self)
            self._watch_writing()
        elif self._running is not None and self._running.response_complete:
            self._rest()

    def _rest(self) -> None:
        if self._deadline is not None:  # a part of a head has come, or a part of the body is still to come
            self._unset_keepalive_if_required()
            self._table.waiting(self)
            return
        self._table.resting(self)
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    # --- deadlines and refusals -------------------------------------------------------------------------------

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(self._limits.head_timeout_s, self._head_is_late)
        if self._running is None or self._running.response_complete:
            self._table.waiting(self)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._head_bytes:
            self.refuse(httphead.HEAD_TIMEOUT)
        else:
            self._cut("head_timeout")

    def refuse(self, refusal: Refusal) -> None:
        """Say why, and read nothing more. Requests that came before it are answered first."""
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
            self._close()  # the answer is out, the rest of the body is what was refused
            return
        if running is None or not running.response_started:
            self.transport.write(refusal.answer())
        self._linger()

    def _linger(self) -> None:
        """Close so that the client can read the answer: with its bytes unread, TCP would reset the connection."""
        self._table.waiting(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._deadline = self.loop.call_later(_LINGER_S, self.transport.abort)
        else:
            self._close()
