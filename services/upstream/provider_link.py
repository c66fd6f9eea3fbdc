"""One call's connection to its provider: opened when the call is claimed, read and written by a task each."""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics
from services.upstream.connectors.base import Connector, ProviderConnection
from services.upstream.core.commands import AppendAudio, Reconnect, SendToProvider
from services.upstream.core.json_shape import text_chars
from services.upstream.errors import (
    UpstreamClosedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)

MAX_UNSENT = 2048
"""40 s of frames that the provider did not read: its connection counts as lost."""
MAX_UNSENT_CHARS = 256 * 1024
MAX_UNSENT_EVENTS = 256
"""With more than that unwritten, no further event of the client is handled."""


@dataclass(frozen=True, slots=True)
class ProviderOpened:
    """A session with the provider is open."""


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """An event from the provider; None if it could not be parsed."""

    event: JsonValue


@dataclass(frozen=True, slots=True)
class ProviderLost:
    """The provider refused the session, could not be reached, or closed it."""

    reason: EndReason
    detail: str


class ProviderReads:
    """The provider has read: there is room again after `ProviderLink.has_room` returned False."""


class ProviderInbox(Protocol):
    """Where a `ProviderLink` puts what the provider does."""

    async def put(self, item: Any, /) -> None:  # noqa: ANN401 - of the types above
        """Queue ``item``, once there is room."""


class ProviderLink:
    """Puts what the provider does into ``inbox``, and sends it the commands of `queue_command`, in order."""

    def __init__(self, connector: Connector, model: str, inbox: ProviderInbox) -> None:
        self._connector = connector
        self._model = model
        self._inbox = inbox
        self._unsent: asyncio.Queue[SendToProvider | AppendAudio | Reconnect] = asyncio.Queue(MAX_UNSENT)
        self._unsent_chars = 0
        self._was_full = False

    def has_room(self) -> bool:
        """Whether the provider reads fast enough for the client's next event; if not, a `ProviderReads` follows."""
        has_room = self._unsent_chars < MAX_UNSENT_CHARS and self._unsent.qsize() < MAX_UNSENT_EVENTS
        self._was_full = self._was_full or not has_room
        return has_room

    def queue_command(self, command: SendToProvider | AppendAudio | Reconnect) -> None:
        """Queue ``command`` for the provider, behind those that are not written yet.

        Raises:
            UpstreamUnavailableError: the queue is full; the provider does not read.
        """
        try:
            self._unsent.put_nowait(command)
        except asyncio.QueueFull as exc:
            metrics.ERRORS.labels("unavailable").inc()
            raise UpstreamUnavailableError("the provider does not read what it is sent") from exc
        self._unsent_chars += _chars(command)

    async def keep_open(self) -> None:
        """Connect, again for each `Reconnect`, and put a `ProviderLost` when that fails. Cancel it to close."""
        try:
            while True:
                await self._serve_session()
        except UpstreamError as exc:
            metrics.ERRORS.labels(exc.kind).inc()
            get_logger().warning("provider_lost", reason=exc.kind, detail=str(exc))
            refused = isinstance(exc, UpstreamRefusedError)
            reason = EndReason.PROVIDER_REFUSED if refused else EndReason.PROVIDER_ERROR
            await self._inbox.put(ProviderLost(reason, str(exc)))

    async def _serve_session(self) -> None:
        async with self._connector.connect(self._model) as connection:
            metrics.SESSIONS_ACTIVE.inc()
            try:
                await self._inbox.put(ProviderOpened())
                await self._exchange(connection)
            finally:
                metrics.SESSIONS_ACTIVE.dec()

    async def _exchange(self, connection: ProviderConnection) -> None:
        """Read and write until a `Reconnect` is reached.

        Raises:
            UpstreamClosedError: the provider closed the session first.
        """
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(connection), name="read")
            writing = group.create_task(self._write(connection, reading), name="write")
            await asyncio.wait({reading})
            writing.cancel()
        if not reading.cancelled():
            raise reading.result()

    async def _read(self, connection: ProviderConnection) -> UpstreamClosedError:
        try:
            while True:
                await self._inbox.put(ProviderEvent(await connection.receive_event()))
        except UpstreamClosedError as exc:
            return exc

    async def _write(self, connection: ProviderConnection, reading: asyncio.Task[UpstreamClosedError]) -> None:
        while True:
            pcm, command = await self._next_batch()
            try:
                if pcm:
                    await connection.append_audio(pcm)
                if isinstance(command, SendToProvider):
                    await connection.send_event(command.event)
                    self._unsent_chars -= _chars(command)
                if self._was_full and self.has_room():
                    self._was_full = False
                    await self._inbox.put(ProviderReads())
            except UpstreamClosedError:
                return  # the reader gets it too, with the reason
            if isinstance(command, Reconnect):
                reading.cancel()
                return

    async def _next_batch(self) -> tuple[bytes, SendToProvider | Reconnect | None]:
        """Return all queued audio as one piece, and the command queued behind it, if any."""
        command, waiting = await self._unsent.get(), bytearray()
        while isinstance(command, AppendAudio):
            waiting += command.pcm
            if self._unsent.empty():
                return bytes(waiting), None
            command = self._unsent.get_nowait()
        return bytes(waiting), command


def _chars(command: SendToProvider | AppendAudio | Reconnect) -> int:
    """Return the characters of text in an event; audio of the caller is bounded by its number of frames."""
    return text_chars(command.event) if isinstance(command, SendToProvider) else 0
