"""Errors that any service may meet. Each names the fact, carries data and says whether trying again helps."""


class HushgateError(Exception):
    """Base of our errors: ``str()`` is one line that an operator can act on."""

    retryable = False


class SettingsError(HushgateError):
    """The environment does not make valid settings."""


class BusUnavailableError(HushgateError):
    """No NATS server answers."""

    retryable = True

    def __init__(self, url: str, cause: str) -> None:
        where = url.rpartition("@")[2]  # never the password
        super().__init__(f"no NATS server with JetStream at {where} ({cause}): start it, or correct *_NATS_URL")
        self.url = where


class NoRespondersError(HushgateError):
    """Nobody listens on the subject of a request."""

    retryable = True

    def __init__(self, subject: str) -> None:
        super().__init__(f"nobody answers {subject}")
        self.subject = subject


class RequestTimeoutError(HushgateError):
    """A request was not answered in time."""

    retryable = True

    def __init__(self, subject: str, timeout_s: float) -> None:
        super().__init__(f"no answer on {subject} within {timeout_s:g} s")
        self.subject = subject


class AddressInUseError(HushgateError):
    """A TCP address is taken or not ours to take."""

    def __init__(self, host: str, port: int, cause: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {cause}")
        self.host = host
        self.port = port
