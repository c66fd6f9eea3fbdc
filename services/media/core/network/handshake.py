"""DTLS handshakes: whose key is accepted, and why a handshake failed.

A peer's certificate is trusted by its fingerprint in the offer alone (RFC 8122, RFC 8827 §6.5): issuer, names and
dates are ignored. Its key must still be strong enough.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Literal

from services.contracts.endings import EndReason

RSA_BITS = range(2048, 8192 + 1)
"""RFC 8827 §6.5: at least 2048. Chromium makes keys of up to 8192 bits; longer ones only cost time."""
MIN_EC_BITS = 256
"""P-256 and longer. OpenSSL itself takes P-256, P-384 and P-521, and no other curve."""


class Alert(IntEnum):
    """The alerts that distinguish failures (RFC 8446 §6, RFC 5246 §7.2)."""

    CLOSE_NOTIFY = 0
    HANDSHAKE_FAILURE = 40
    INSUFFICIENT_SECURITY = 71
    PROTOCOL_VERSION = 70
    USER_CANCELED = 90


class DtlsFailure(StrEnum):
    """Why a DTLS handshake failed. The closed set of values of the metric and the log."""

    PEER_ALERT = "peer_alert"  # the client refused; the log has the number of its alert
    PEER_CLOSED = "peer_closed"  # the client left
    NO_COMMON_ALGORITHM = "no_common_algorithm"  # no cipher suite, signature algorithm or curve that both have
    PROTOCOL_VERSION = "protocol_version"  # older than DTLS 1.2
    NO_CERTIFICATE = "no_certificate"
    FINGERPRINT_MISMATCH = "fingerprint_mismatch"  # the certificate is not the one that the offer names
    KEY_NOT_ACCEPTED = "key_not_accepted"  # RSA below 2048 bits, or a kind of key that is not RSA, ECDSA or EdDSA
    NO_SRTP_PROFILE = "no_srtp_profile"
    MALFORMED = "malformed"  # anything else that OpenSSL refused
    UNFINISHED = "unfinished"  # the leg was closed while the handshake was under way


KeyKind = Literal["rsa", "ec", "eddsa", "other"]


def refusal(*, kind: KeyKind, bits: int, fingerprint: str, expected: str) -> DtlsFailure | None:
    """Return why the peer's certificate is refused; None: it is accepted."""
    if fingerprint != expected:
        return DtlsFailure.FINGERPRINT_MISMATCH
    match kind:
        case "rsa":
            accepted = bits in RSA_BITS
        case "ec":
            accepted = bits >= MIN_EC_BITS
        case _:
            accepted = kind == "eddsa"
    return None if accepted else DtlsFailure.KEY_NOT_ACCEPTED


@dataclass(slots=True)
class Handshake:
    """The state of one handshake. ``expected``: the SHA-256 fingerprint in the offer."""

    expected: str
    refused: DtlsFailure | None = None
    is_checked: bool = False  # the peer's certificate was checked
    alert_sent: int | None = None
    alert_received: int | None = None

    def certificate(self, *, kind: KeyKind, bits: int, fingerprint: str) -> bool:
        """Check the peer's certificate; return whether the handshake may continue."""
        self.is_checked = True
        self.refused = refusal(kind=kind, bits=bits, fingerprint=fingerprint, expected=self.expected)
        return self.refused is None

    def failure(self, said: str = "") -> DtlsFailure:
        """Return why it failed. ``said``: the TLS library's error text, the only sign of a missing certificate."""
        if self.refused is not None:
            return self.refused
        if self.alert_received is not None:
            left = self.alert_received in {Alert.CLOSE_NOTIFY, Alert.USER_CANCELED}
            return DtlsFailure.PEER_CLOSED if left else DtlsFailure.PEER_ALERT
        if "did not return a certificate" in said:
            return DtlsFailure.NO_CERTIFICATE
        match self.alert_sent:
            case Alert.HANDSHAKE_FAILURE | Alert.INSUFFICIENT_SECURITY:
                return DtlsFailure.NO_COMMON_ALGORITHM
            case Alert.PROTOCOL_VERSION:
                return DtlsFailure.PROTOCOL_VERSION
        return DtlsFailure.MALFORMED


def end_reason(failure: DtlsFailure) -> EndReason:
    """Return the end reason of a call whose handshake failed: `CLIENT_GONE` if the client left, else `DTLS_FAILED`."""
    return EndReason.CLIENT_GONE if failure is DtlsFailure.PEER_CLOSED else EndReason.DTLS_FAILED
