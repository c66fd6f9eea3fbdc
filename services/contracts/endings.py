"""Why calls end: the closed set of reasons for the client, the log, the metric, `hg.calls.ended` and the ledger."""

from enum import StrEnum


class EndReason(StrEnum):
    """Why a call ended."""

    HANGUP = "hangup"
    CLIENT_GONE = "client_gone"
    MAX_SECONDS = "max_seconds"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_REFUSED = "provider_refused"
    DRAINED = "drained"
    SETUP_TIMEOUT = "setup_timeout"
    DTLS_FAILED = "dtls_failed"
    FLOOD = "flood"
    REVOKED = "revoked"
    INTERNAL = "internal"
