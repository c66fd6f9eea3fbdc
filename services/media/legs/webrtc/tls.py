"""OpenSSL's side of DTLS: the context with accepted algorithms, and the handshake with its failures."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL, crypto

from services.media.core.network.handshake import DtlsFailure, Handshake, KeyKind

DTLS_1_2 = 0xFEFD
CIPHERS = b":".join(
    (
        # As the DTLS client our suites must fit the peer's key: with ECDSA alone there is "no shared cipher" for
        # GStreamer, FreeSWITCH and others with an RSA key. The first is the one that RFC 8827 requires.
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-AES128-SHA",
        b"ECDHE-RSA-AES128-SHA",
        b"ECDHE-ECDSA-AES256-SHA",
        b"ECDHE-RSA-AES256-SHA",
        b"@SECLEVEL=2",  # RSA from 2048 bits, no SHA-1 signatures
    )
)
_KINDS: dict[int, KeyKind] = {
    crypto.TYPE_RSA: "rsa",
    912: "rsa",  # NID_rsassaPss
    crypto.TYPE_EC: "ec",
    1087: "eddsa",  # NID_ED25519
    1088: "eddsa",  # NID_ED448
}


def make_context(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, *, srtp_profiles: bytes
) -> SSL.Context:
    """Return a context for all handshakes of a process. Each connection's app data must be its `Handshake`."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_min_proto_version(DTLS_1_2)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # a resumed session would show no certificate
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # records are rare: 34 KB less for each call
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.set_info_callback(_note_alert)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_cipher_list(CIPHERS)
    context.set_tlsext_use_srtp(srtp_profiles)
    return context


async def run_handshake(
    connection: SSL.Connection,
    handshake: Handshake,
    *,
    receive: Callable[[], Awaitable[bytes]],
    flush: Callable[[], Awaitable[None]],
) -> DtlsFailure | None:
    """Run a handshake. ``flush`` sends what ``connection`` has pending; both raise `ConnectionError` to stop it.

    Returns:
        Why it failed, after an alert was sent to the peer, or None on success.
    """
    connection.set_app_data(handshake)
    try:
        while True:
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                await flush()
                await _read_flight(connection, receive)
            else:
                await flush()
                return None
    except SSL.Error as exc:
        with contextlib.suppress(ConnectionError):
            await flush()
        return handshake.failure(str(exc))
    except ConnectionError:
        return DtlsFailure.UNFINISHED


async def _read_flight(connection: SSL.Connection, receive: Callable[[], Awaitable[bytes]]) -> None:
    try:
        async with asyncio.timeout(connection.DTLSv1_get_timeout()):
            record = await receive()
    except TimeoutError:
        connection.DTLSv1_handle_timeout()  # retransmits our last flight
    else:
        connection.bio_write(record)


def _verify(connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
    """Check the peer's own certificate; others in its chain are ignored."""
    if depth:
        return True
    handshake: Handshake = connection.get_app_data()
    kind: KeyKind
    try:
        key = certificate.get_pubkey()
        kind, bits = _KINDS.get(key.type(), "other"), key.bits()
    except crypto.Error:  # of a kind that OpenSSL cannot read
        kind, bits = "other", 0
    return handshake.certificate(kind=kind, bits=bits, fingerprint=certificate.digest("sha256").decode())


def _note_alert(connection: SSL.Connection, where: int, code: int) -> None:
    handshake: Handshake | None = connection.get_app_data()
    if handshake is None:
        return
    if where == SSL.SSL_CB_READ_ALERT:
        handshake.alert_received = code & 0xFF
    elif where == SSL.SSL_CB_WRITE_ALERT:
        handshake.alert_sent = code & 0xFF
