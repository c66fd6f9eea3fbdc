"""Errors of a call, as the caller sees them: one line each that says what to do."""

from services.runtime.errors import HushgateError
from services.runtime.telemetry.redaction import escape_controls

_SERVER_ERROR = 500


class CallerError(HushgateError):
    """Base: the call could not be made or ended early. Text quoted from an endpoint is safe to print."""

    def __init__(self, message: str) -> None:
        super().__init__(escape_controls(message))


class UnreachableError(CallerError):
    """Nobody answers HTTP at the URL."""

    retryable = True

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"cannot reach {url} ({cause}): is it running, and is the URL right?")
        self.url = url


class EndpointRefusedError(CallerError):
    """The endpoint answered with an error status."""

    def __init__(self, what: str, *, status: int, code: str | None, message: str) -> None:
        hint = {401: ": check the key", 404: ": is this the URL of a Realtime endpoint?"}.get(status, "")
        super().__init__(f"{what} was refused with {status}{f' {code}' if code else ''}{hint}. It says: {message}")
        self.status = status
        self.code = code
        self.retryable = status >= _SERVER_ERROR


class MalformedKeyError(CallerError):
    """A key that cannot be sent. The message does not quote it."""

    def __init__(self) -> None:
        super().__init__("the key holds characters that no key has: was it copied whole, without quotes and line ends?")


class UnexpectedReplyError(CallerError):
    """The endpoint's reply does not follow the Realtime API."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"{url} does not speak the Realtime API: {what}. Is the URL right?")
        self.url = url


class NotConnectedError(CallerError):
    """The offer was answered, but WebRTC did not connect."""

    retryable = True

    def __init__(self, state: str, timeout_s: float) -> None:
        super().__init__(
            f"no WebRTC connection within {timeout_s:g} s (state {state}): "
            "does UDP get through to the address in the answer?"
        )
        self.state = state


class CallEndedError(CallerError):
    """The other side ended the call while a result was still expected."""

    def __init__(self, waited_for: str) -> None:
        super().__init__(f"the call ended while waiting for {waited_for}")
        self.waited_for = waited_for


class WaitTimeoutError(CallerError):
    """What was waited for did not arrive in time."""

    def __init__(self, waited_for: str, timeout_s: float) -> None:
        super().__init__(f"no {waited_for} within {timeout_s:g} s")
        self.waited_for = waited_for


class NotBookedError(CallerError):
    """The call succeeded, but the ledger has no usage of it."""

    def __init__(self, status: str) -> None:
        super().__init__(
            f"the call was answered, but the ledger has no usage of it ({status}): "
            "does metering run, and does usage reach it?"
        )


class SpeechError(CallerError):
    """Text or a file cannot be turned into speech."""
