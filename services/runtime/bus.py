"""NATS as this project uses it: one connection for call traffic, one for JetStream.

nats-py's defaults suit neither: see docs/adr/0001-bus-and-delivery.md.
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
from services.contracts.messages import AnyMessage, MalformedMessageError, Message
from services.runtime import metrics, tracing
from services.runtime.errors import BusUnavailableError, NoRespondersError, RequestTimeoutError
from services.runtime.logging import get_logger
from services.runtime.sender import Sender
from services.runtime.settings import NatsLogin
from services.runtime.streams import DEFAULT_STORE_MB

_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.25
_PING_S = 1
_UNANSWERED_PINGS = 3
"""A server that went without a word is missed after four seconds: before the other side, which is silent then, too."""
_RECEIVE_LIMIT = 64 * 1024 * 1024
_FORBIDDEN = "permissions violation"
"""What the server says to a user who goes beyond its subjects; the client has no type of its own for it."""

FrameHandler = Callable[[str, bytes], None]
RequestHandler = Callable[[AnyMessage], Awaitable[Message]]
M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Bus:
    """Publishes, asks and listens. Made by `Bus.connect`."""

    _calls: Client
    _stream: Client
    store_mb: int = DEFAULT_STORE_MB
    """The MiB of the server's file store, by which streams and buckets are bounded."""
    jetstream: JetStreamContext = field(init=False)
    _sender: Sender = field(init=False)
    _answers: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.jetstream = self._stream.jetstream()
        self._sender = Sender(self._calls)

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
        """Connect both connections, as ``login`` if one is given; they are drained when the block ends.

        Raises:
            BusUnavailableError: nobody answers at ``url``, or without JetStream.
        """
        # The server must be there at the start (a clear error beats a silent wait); later it may go and come.
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
        """Whether call traffic flows now."""
        return self._calls.is_connected

    @property
    def returns(self) -> int:
        """How often call traffic was interrupted and flowed again."""
        return self._calls.stats["reconnects"]

    async def publish(self, subject: str, message: Message) -> None:
        """Send a control message; lost, and counted, while the server is away."""
        await self.send(subject, message.encode())

    async def send(self, subject: str, data: bytes) -> bool:
        """`post`, for those that wait anyway."""
        return self.post(subject, data)

    def post(self, subject: str, data: bytes) -> bool:
        """Send bytes; False, and counted, while the server is away: nothing is kept to arrive late."""
        return self._sender.post(subject, data)

    def post_audio(self, subject: str, data: bytes) -> bool:
        """Send caller audio, or drop and count it when it would be late: late speech is worthless."""
        return self._sender.post_audio(subject, data)

    async def request(self, subject: str, message: Message, *, timeout_s: float) -> AnyMessage:
        """Ask and wait for the answer. Where the asker is in its trace goes along, as a header.

        Raises:
            NoRespondersError: nobody listens (known within a millisecond), or the bus is away.
            RequestTimeoutError: somebody listens and does not answer.
            MalformedMessageError: the answer is none of ours.
        """
        await self._sender.flush()  # what was sent before is not overtaken
        try:
            reply = await self._calls.request(subject, message.encode(), timeout=timeout_s, headers=tracing.outgoing())
        except (NatsNoRespondersError, OutboundBufferLimitError, ConnectionClosedError) as exc:
            raise NoRespondersError(subject) from exc
        except NatsTimeoutError as exc:
            raise RequestTimeoutError(subject, timeout_s) from exc
        return messages.decode(reply.data)

    async def serve(self, subject: str, handler: RequestHandler, *, queue: str = "") -> Subscription:
        """Answer requests on ``subject``, each in a task of its own.

        A request that cannot be read, or whose handler fails, is logged and not answered.
        """

        async def answer(msg: Msg) -> None:
            tracing.accept(msg.headers)  # this task is the request's own
            try:
                reply = await handler(messages.decode(msg.data))
                if msg.reply:
                    await self.send(msg.reply, reply.encode())
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

    async def listen(self, subject: str, handler: FrameHandler) -> Subscription:
        """Hand every message on ``subject`` to ``handler(subject, data)``, in order. It must not block."""

        async def receive(msg: Msg) -> None:
            handler(msg.subject, msg.data)

        # Never the client's own drop: it would throw away the newest, and down is lossless by credit.
        return await self._calls.subscribe(
            subject, cb=receive, pending_msgs_limit=0, pending_bytes_limit=_RECEIVE_LIMIT
        )

    async def flush(self) -> None:
        """Wait until the server has everything that was sent."""
        await self._sender.flush()
        await self._calls.flush()


async def _open(url: str, name: str, login: NatsLogin | None, *, pending_size: int, wait_s: float) -> Client:
    said, seen = "", ""  # why it does not connect: by the server, else by the socket

    async def on_error(error: Exception) -> None:
        nonlocal said, seen
        if type(error) is NatsError:  # what the server said, word by word; its kinds are the client's own
            said = str(error)
        seen = str(error)
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
        # Reconnecting for ever also means trying for ever at the start, so that has a limit of its own.
        async with asyncio.timeout(wait_s):
            await client.connect(
                url,
                name=name,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                # A server that is started again is back after two seconds: one try that meets it half-way up must not
                # take many of those that a caller waits.
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
        raise BusUnavailableError(url, str(exc) or said or seen or "no answer") from exc
    return client


async def unsubscribe(subscription: Subscription) -> None:
    """Hear no more of it, whether or not the server is still there to be told."""
    try:
        await subscription.unsubscribe()
    except NatsError as exc:  # the connection is gone, and the subscription with it
        get_logger().warning("unsubscribe_failed", reason=type(exc).__name__)


async def _drain(client: Client) -> None:
    """Finish what was received and sent, if the server is there."""
    if client.is_connected:
        try:
            await client.drain()
        except NatsError as exc:
            get_logger().warning("bus_drain_failed", error=str(exc))


async def _close(client: Client) -> None:
    """Close, whether or not the server is still there to hear of it."""
    if not client.is_closed:
        with contextlib.suppress(OSError):
            await client.close()
