"""Errors of a provider. Each message is one line that says what to do."""

from services.runtime.errors import HushgateError
from services.upstream.core.commands import ErrorKind


class UpstreamError(HushgateError):
    """Base class; ``kind`` is the label of `hushgate_upstream_errors_total`."""

    kind: ErrorKind = "unavailable"


class UpstreamRefusedError(UpstreamError):
    """The provider refuses the key, the model or the request; retrying does not help."""

    kind: ErrorKind = "refused"


class UpstreamUnavailableError(UpstreamError):
    """The provider cannot be reached or cannot serve now; retrying may help."""

    retryable = True


class UpstreamBusyError(UpstreamUnavailableError):
    """The provider limits the rate or number of our requests."""

    kind: ErrorKind = "rate_limited"


class UpstreamClosedError(UpstreamError):
    """The provider closed an open session, or its connection broke."""

    kind: ErrorKind = "closed"
    retryable = True
