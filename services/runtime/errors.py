"""Errors that any service may raise. Each names the fact, carries data and says whether retrying helps."""


class HushgateError(Exception):
    """Base of our errors: ``str()`` is one line that an operator can act on."""

    retryable = False


class SettingsError(HushgateError):
    """The environment does not make valid settings."""


class BusUnavailableError(HushgateError):
    """No NATS server with JetStream answers."""

    retryable = True

    def __init__(self, url: str, cause: str) -> None:
        where = url.rpartition("@")[2]  # never the password
        super().__init__(f"no NATS server with JetStream at {where} ({cause}): start it, or correct *_NATS_URL")
        self.url = where


class StoreTooSmallError(HushgateError):
    """The NATS server's file store has no room for a stream of the size that the settings give it."""

    def __init__(self, stream: str, store_mb: int) -> None:
        super().__init__(
            f"the NATS server has no room for {stream}: set *_NATS_STORE_MB, now {store_mb}, to the MiB of its "
            "jetstream max_file_store, the same for all services"
        )
        self.stream = stream
        self.store_mb = store_mb


class BucketFullError(HushgateError):
    """A KV bucket has reached its size limit and rejects new entries."""

    retryable = True

    def __init__(self, bucket: str) -> None:
        super().__init__(f"the bucket {bucket} is full")
        self.bucket = bucket


class NoRespondersError(HushgateError):
    """Nobody subscribes to the subject of a request."""

    retryable = True

    def __init__(self, subject: str) -> None:
        super().__init__(f"nobody answers {subject}")
        self.subject = subject


class RequestTimeoutError(HushgateError):
    """A request got no reply in time."""

    retryable = True

    def __init__(self, subject: str, timeout_s: float) -> None:
        super().__init__(f"no answer on {subject} within {timeout_s:g} s")
        self.subject = subject


class AddressInUseError(HushgateError):
    """A TCP address is in use or may not be bound."""

    def __init__(self, host: str, port: int, cause: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {cause}")
        self.host = host
        self.port = port
