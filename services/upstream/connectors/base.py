"""What every wire to a provider offers."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pydantic import JsonValue

from services.upstream.core.shape import Json


class Connection(Protocol):
    """One open session with a provider, speaking the events of the Realtime API."""

    async def append(self, pcm: bytes) -> None:
        """Give it caller audio: s16le mono 16 kHz.

        Raises:
            UpstreamClosedError: the session is over.
        """

    async def send(self, event: Json) -> None:
        """Tell it a client event. What was appended before a commit is complete when the commit is sent.

        Raises:
            UpstreamClosedError: the session is over.
        """

    async def receive(self) -> JsonValue:
        """Its next event; None stands for one that could not be read.

        Raises:
            UpstreamClosedError: the session is over.
        """


class Connector(Protocol):
    """Opens sessions."""

    def connect(self, model: str) -> AbstractAsyncContextManager[Connection]:
        """A session that is open while the block runs.

        Raises:
            UpstreamRefusedError: the provider will not.
            UpstreamUnavailableError: the provider cannot now.
        """
