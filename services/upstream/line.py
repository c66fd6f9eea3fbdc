"""One call's line to its provider: opened as soon as the call is ours, read by one task, written by another."""

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.runtime.logging import get_logger
from services.upstream import metrics
from services.upstream.connectors.base import Connection, Connector
from services.upstream.core.commands import AppendAudio, SendToProvider
from services.upstream.errors import (
    UpstreamClosedError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamUnavailableError,
)

MAX_UNSENT = 2048
"""40 s of frames that a provider did not read: it is as good as gone."""


@dataclass(frozen=True, slots=True)
class ProviderOpened:
    """It can be spoken to."""


@dataclass(frozen=True, slots=True)
class ProviderSaid:
    """One of its events; None if it could not be read."""

    event: JsonValue


@dataclass(frozen=True, slots=True)
class ProviderGone:
    """It was never there, or is not any more."""

    reason: EndReason
    detail: str


class Line:
    """Puts what the provider does into ``inbox``, and gives the provider what `send` was given, in order."""

    def __init__(self, connector: Connector, model: str, inbox: asyncio.Queue[Any]) -> None:
        self._connector = connector
        self._model = model
        self._inbox = inbox
        self._unsent: asyncio.Queue[SendToProvider | AppendAudio] = asyncio.Queue(MAX_UNSENT)

    def send(self, command: SendToProvider | AppendAudio) -> None:
        """Write this when what was given before is written.

        Raises:
            UpstreamUnavailableError: too much is not written yet.
        """
        try:
            self._unsent.put_nowait(command)
        except asyncio.QueueFull as exc:
            metrics.ERRORS.labels("unavailable").inc()
            raise UpstreamUnavailableError("the provider does not read what it is sent") from exc

    async def keep_open(self) -> None:
        """Connect and carry both ways until the provider goes; then say so. Cancelled: hang up."""
        try:
            async with self._connector.connect(self._model) as connection:
                metrics.SESSIONS_ACTIVE.inc()
                try:
                    await self._inbox.put(ProviderOpened())
                    await self._carry(connection)
                finally:
                    metrics.SESSIONS_ACTIVE.dec()
        except UpstreamError as exc:
            metrics.ERRORS.labels(exc.kind).inc()
            get_logger().warning("provider_lost", reason=exc.kind, detail=str(exc))
            refused = isinstance(exc, UpstreamRefusedError)
            reason = EndReason.PROVIDER_REFUSED if refused else EndReason.PROVIDER_ERROR
            await self._inbox.put(ProviderGone(reason, str(exc)))

    async def _carry(self, connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write(connection), name="write")
            try:
                while True:
                    await self._inbox.put(ProviderSaid(await connection.receive()))
            except UpstreamClosedError as exc:
                gone = exc
                writing.cancel()
        raise gone

    async def _write(self, connection: Connection) -> None:
        while True:
            command = await self._unsent.get()
            try:
                if isinstance(command, AppendAudio):
                    await connection.append(command.pcm)
                else:
                    await connection.send(command.event)
            except UpstreamClosedError:
                return  # the reader knows it too, and why
