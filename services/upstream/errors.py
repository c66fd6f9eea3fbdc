"""How a provider fails. Each error is one line that says what to do."""

from services.runtime.errors import HushgateError
from services.upstream.core.commands import ErrorKind


class UpstreamError(HushgateError):
    """Base: the provider does not do what was asked."""

    kind: ErrorKind = "unavailable"


class UpstreamRefusedError(UpstreamError):
    """The provider will not, however often it is asked: the key, the model or the request is wrong."""

    kind: ErrorKind = "refused"


class UpstreamUnavailableError(UpstreamError):
    """The provider cannot be reached or cannot serve now."""

    retryable = True


class UpstreamBusyError(UpstreamUnavailableError):
    """The provider limits us."""

    kind: ErrorKind = "rate_limited"


class UpstreamClosedError(UpstreamError):
    """The provider closed a session that was open."""

    kind: ErrorKind = "closed"
    retryable = True
