"""NATS as this project uses it: one connection for call traffic, one for JetStream.

Not with nats-py's defaults: see docs/adr/0001-bus-and-delivery.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from nats.aio.client import DEFAULT_INBOX_PREFIX, Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, NoServersError, OutboundBufferLimitError
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError as NatsNoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext

from services.contracts import messages
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, MalformedMessageError
from services.runtime.bus.batch_sender import BatchSender
from services.runtime.bus.streams import DEFAULT_STORE_MB
from services.runtime.errors import BusUnavailableError, NoRespondersError, RequestTimeoutError
from services.runtime.process.settings import NatsLogin
from services.runtime.telemetry import metrics, tracing
from services.runtime.telemetry.logging import get_logger

_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.25
_PING_S = 1
_UNANSWERED_PINGS = 3
"""Ping interval: a server that fails silently is detected after four seconds, before the other side is given up."""
_RECEIVE_LIMIT = 64 * 1024 * 1024
_FORBIDDEN = "permissions violation"
"""The server's error text for a subject outside a user's permissions; the client has no error type for it."""

FrameHandler = Callable[[str, bytes], None]
RequestHandler = Callable[[AnyMessage], Awaitable[Message]]
NamedRequestHandler = Callable[[str, AnyMessage], Awaitable[Message]]
M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Bus:
    """Publishes, requests and subscribes. Create it with `Bus.connect`."""

    _calls: Client
    _stream: Client
    store_mb: int = DEFAULT_STORE_MB
    """MiB of the server's file store; streams and buckets are sized in shares of it."""
    jetstream: JetStreamContext = field(init=False)
    _sender: BatchSender = field(init=False)
    _answers: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.jetstream = self._stream.jetstream()
        self._sender = BatchSender(self._calls)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        login: NatsLogin | None = None,
        wait_s: float = _CONNECT_TIMEOUT_S,
        store_mb: int = DEFAULT_STORE_MB,
    ) -> AsyncIterator["Bus"]:
        """Connect both connections, as ``login`` if given; both are drained when the block ends.

        Raises:
            BusUnavailableError: no server answers at ``url``, or it runs without JetStream.
        """
        # The server must be reachable at the start (a clear error beats a silent wait); later outages are tolerated.
        calls = await _open(url, f"{name}-calls", login, pending_size=-1, wait_s=wait_s)
        try:
            stream = await _open(url, f"{name}-stream", login, pending_size=2 * 1024 * 1024, wait_s=wait_s)
        except BusUnavailableError:
            await calls.close()
            raise
        bus = cls(calls, stream, store_mb)
        sending = asyncio.create_task(bus._sender.run(), name="bus sender")
        try:
            try:
                await bus.jetstream.account_info()
            except NatsError as exc:
                raise BusUnavailableError(url, f"JetStream: {exc}") from exc
            yield bus
            await bus._sender.flush()
            await _drain(calls)
        finally:
            tasks = (sending, *bus._answers)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _close(stream)
            await _close(calls)

    @property
    def connected(self) -> bool:
        """Whether the connection for call traffic is up."""
        return self._calls.is_connected

    @property
    def reconnects(self) -> int:
        """How often the connection for call traffic was reestablished."""
        return self._calls.stats["reconnects"]

    async def publish(self, subject: str, message: Message) -> None:
        """Publish a control message; dropped and counted while disconnected."""
        await self.publish_bytes(subject, message.encode())

    async def publish_bytes(self, subject: str, data: bytes) -> bool:
        """`post` as a coroutine."""
        return self.post(subject, data)

    def post(self, subject: str, data: bytes) -> bool:
        """Queue bytes for publishing; False, and counted as dropped, while disconnected: late messages are not kept."""
        return self._sender.post(subject, data)

    def post_audio(self, subject: str, data: bytes) -> bool:
        """Queue caller audio, or drop and count it when it would be late."""
        return self._sender.post_audio(subject, data)

    async def request(self, subject: str, message: Message, *, timeout_s: float) -> AnyMessage:
        """Send a request and return its reply. The trace context of the current task is sent as a header.

        Raises:
            NoRespondersError: nobody subscribes (reported within a millisecond), or the bus is disconnected.
            RequestTimeoutError: no reply within ``timeout_s``.
            MalformedMessageError: the reply is no message of this protocol.
        """
        await self._sender.flush()  # keeps the order of earlier messages
        try:
            reply = await self._calls.request(
                subject, message.encode(), timeout=timeout_s, headers=tracing.outgoing_headers()
            )
        except (NatsNoRespondersError, OutboundBufferLimitError, ConnectionClosedError) as exc:
            raise NoRespondersError(subject) from exc
        except NatsTimeoutError as exc:
            raise RequestTimeoutError(subject, timeout_s) from exc
        return messages.decode(reply.data)

    async def serve(self, subject: str, handler: RequestHandler, *, queue: str = "") -> Subscription:
        """Answer requests on ``subject``, each in its own task.

        A request that cannot be parsed, or whose handler fails, is logged and not answered.
        """
        return await self.serve_named(subject, lambda _, message: handler(message), queue=queue)

    async def serve_named(self, subject: str, handler: NamedRequestHandler, *, queue: str = "") -> Subscription:
        """Like `serve`; the handler also receives the request's subject, which identifies the permitted sender."""

        async def answer(msg: Msg) -> None:
            tracing.set_remote_parent(msg.headers)  # the task handles this request only
            try:
                reply = await handler(msg.subject, messages.decode(msg.data))
                if msg.reply:
                    await self.publish_bytes(msg.reply, reply.encode())
            except MalformedMessageError as exc:
                metrics.BUS_DROPPED.labels("malformed").inc()
                get_logger().warning("request_malformed", subject=subject, error=str(exc))
            except Exception:  # noqa: BLE001 - the edge of a task: one bad request must not end the process
                get_logger().exception("request_failed", subject=subject)

        async def receive(msg: Msg) -> None:
            task = asyncio.create_task(answer(msg), name=f"answer {subject}")
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

        return await self._calls.subscribe(subject, queue=queue, cb=receive)

    async def subscribe(self, subject: str, handler: FrameHandler) -> Subscription:
        """Call ``handler(subject, data)`` with every message on ``subject``, in order. It must not block."""

        async def receive(msg: Msg) -> None:
            handler(msg.subject, msg.data)

        # Never the client's own drop policy: it drops the newest, and the down path must be lossless (credit-bounded).
        return await self._calls.subscribe(
            subject, cb=receive, pending_msgs_limit=0, pending_bytes_limit=_RECEIVE_LIMIT
        )

    async def flush(self) -> None:
        """Wait until the server has received everything that was published."""
        await self._sender.flush()
        await self._calls.flush()


async def _open(url: str, name: str, login: NatsLogin | None, *, pending_size: int, wait_s: float) -> Client:
    server_error, socket_error = "", ""  # reason of a failed connect: the server's, else the socket's

    async def on_error(error: Exception) -> None:
        nonlocal server_error, socket_error
        if type(error) is NatsError:  # the server's text; subclasses are the client's
            server_error = str(error)
        socket_error = str(error)
        kind = "PermissionsViolation" if _FORBIDDEN in str(error).lower() else type(error).__name__
        metrics.BUS_ERRORS.labels(kind).inc()
        get_logger().warning("bus_error", connection=name, reason=kind, error=str(error))

    async def on_disconnect() -> None:
        if not (client.is_draining or client.is_closed):
            get_logger().warning("bus_disconnected", connection=name)

    async def on_reconnect() -> None:
        metrics.BUS_RECONNECTS.labels(name.rpartition("-")[2]).inc()
        get_logger().info("bus_reconnected", connection=name)

    client = Client()
    try:
        # `allow_reconnect` for ever also retries for ever at the start, so the start has a time limit of its own.
        async with asyncio.timeout(wait_s):
            await client.connect(
                url,
                name=name,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                # A restarted server is back after two seconds: one attempt that meets it half-way up must not
                # take most of the time that a caller waits.
                connect_timeout=1,
                reconnect_time_wait=_RECONNECT_PAUSE_S,  # type: ignore[arg-type]  # it is slept for
                max_reconnect_attempts=-1,
                allow_reconnect=True,
                ping_interval=_PING_S,
                max_outstanding_pings=_UNANSWERED_PINGS,
                pending_size=pending_size,
                user=login.user if login else None,
                password=login.password if login else None,
                inbox_prefix=login.inbox_prefix if login else DEFAULT_INBOX_PREFIX,
            )
    except (NoServersError, OSError, NatsError, TimeoutError) as exc:
        await _close(client)
        raise BusUnavailableError(url, str(exc) or server_error or socket_error or "no answer") from exc
    return client


async def unsubscribe(subscription: Subscription) -> None:
    """Unsubscribe, even when the server is no longer reachable."""
    try:
        await subscription.unsubscribe()
    except NatsError as exc:  # the connection is closed, and the subscription with it
        get_logger().warning("unsubscribe_failed", reason=type(exc).__name__)


async def _drain(client: Client) -> None:
    """Drain the connection if the server is reachable."""
    if client.is_connected:
        try:
            await client.drain()
        except NatsError as exc:
            get_logger().warning("bus_drain_failed", error=str(exc))


async def _close(client: Client) -> None:
    """Close, even when the server is no longer reachable."""
    if not client.is_closed:
        with contextlib.suppress(OSError):
            await client.close()
