"""Why an event of the client is refused or waits, and what its handlers share."""

from services.contracts.client_event import event_id
from services.upstream.core.capabilities import MESSAGES, Capability
from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.json_shape import Json, text
from services.upstream.core.session_updates import UNSUPPORTED

TOO_MANY = ("too_many_events", "Too many events wait for the provider: send this one again later.")
"""The code and the message of an event for which there is no room."""


class ClientEventError(Exception):
    """The client's event is refused; becomes an `error` event in the provider's shape."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class UnconfirmedError(ClientEventError):
    """The event waits for a confirmation of the provider, and is refused after `CONFIRMATION_S`."""


class NotYetError(Exception):
    """The event waits for events before it, which all end in time."""


def unsupported_error(commands: CommandBuffer, capability: Capability, param: str | None = None) -> ClientEventError:
    """Count a capability that the provider does not have; return the refusal of what needs it."""
    commands.count_missing(capability)
    return ClientEventError(UNSUPPORTED, MESSAGES[capability], param)


def origin_of(event: Json, item_id: str | None = None) -> Origin:
    """Return the origin of what is sent to the provider for a client's event."""
    return Origin(text(event, "type"), by_client=True, client_event_id=event_id(event), item_id=item_id)
