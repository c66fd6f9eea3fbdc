"""The interfaces that each provider's connector implements."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pydantic import JsonValue

from services.upstream.core.capabilities import Capabilities
from services.upstream.core.json_shape import Json


class ProviderConnection(Protocol):
    """One open session with a provider, in the events of the Realtime API, whatever the provider's own wire is."""

    async def append_audio(self, pcm: bytes) -> None:
        """Append caller audio, s16le mono 16 kHz, to the provider's input buffer.

        Raises:
            UpstreamClosedError: the session is over.
        """

    async def send_event(self, event: Json) -> None:
        """Send a client event. All audio appended before a commit is sent before the commit, whatever a filter holds.

        Each `session.update` must be answered by `session.updated` with the session in force, or by an `error`.

        Raises:
            UpstreamClosedError: the session is over.
        """

    async def receive_event(self) -> JsonValue:
        """Return the provider's next event; None for one that could not be parsed.

        Raises:
            UpstreamClosedError: the session is over.
        """


class Connector(Protocol):
    """Opens sessions with one provider."""

    @property
    def capabilities(self) -> Capabilities:
        """What its sessions can do; the session core decides by it."""

    def connect(self, model: str) -> AbstractAsyncContextManager[ProviderConnection]:
        """Open a session with ``model`` that lasts as long as the block.

        Raises:
            UpstreamRefusedError: the key, the model or the request is wrong; retrying does not help.
            UpstreamUnavailableError: the provider cannot be reached or cannot serve now.
        """
