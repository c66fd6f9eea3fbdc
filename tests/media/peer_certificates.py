"""DTLS peers with any key, cipher suite and version: aiortc's DTLS on an OpenSSL context of the test."""

import contextlib
import datetime as dt
from dataclasses import dataclass, field
from functools import partial

from aiortc import RTCCertificate, RTCDtlsTransport
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from services.runtime import clock
from tests.media.clients import AiortcClient

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
ALL_SUITES = b"ALL:!ADH:!AECDH:@SECLEVEL=0"
"""GStreamer's list in another order."""
_RECORD_HEADER_BYTES = 13  # RFC 6347 §4.1
SRTP = b"SRTP_AES128_CM_SHA1_80"


def certificate(key: Key, *, days: int = 30) -> x509.Certificate:
    """Self-signed; ``days``: how long from now it is valid."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    now = dt.datetime.fromtimestamp(clock.unix_ms() / 1000, dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
    )
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@dataclass
class Ways:
    """A peer's DTLS parameters."""

    key: Key = field(default_factory=rsa_key)
    suites: bytes = ALL_SUITES
    srtp: bytes = SRTP
    newest: int | None = None
    shows_certificate: bool = True
    days: int = 30


class PeerCertificate(RTCCertificate):
    """A peer's certificate and OpenSSL context."""

    def __init__(self, ways: Ways) -> None:
        super().__init__(ways.key, certificate(ways.key, days=ways.days))  # type: ignore[arg-type]
        self.ways = ways

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        del srtp_profiles
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.set_cipher_list(self.ways.suites)
        if self.ways.newest is not None:
            context.set_max_proto_version(self.ways.newest)
        if self.ways.shows_certificate:
            context.use_certificate(self._cert)
            context.use_privatekey(self._key)
        if self.ways.srtp:
            context.set_tlsext_use_srtp(self.ways.srtp)
        return context


def client_with(ways: Ways) -> AiortcClient:
    """Return a client with the DTLS parameters ``ways``."""
    client = AiortcClient(certificate=PeerCertificate(ways))
    transport = client.peer.getSenders()[0].transport
    transport._write_ssl = partial(_send_records, transport)  # type: ignore[method-assign]  # noqa: SLF001
    return client


async def _send_records(transport: RTCDtlsTransport) -> None:
    """Send a flight record by record: aiortc's own cuts one that is longer than 1500 bytes, as with RSA-4096."""
    ssl = transport._ssl  # noqa: SLF001
    assert ssl is not None
    flight = b""
    with contextlib.suppress(SSL.WantReadError):
        while True:
            flight += ssl.bio_read(65_536)
    while flight:
        end = _RECORD_HEADER_BYTES + int.from_bytes(flight[_RECORD_HEADER_BYTES - 2 : _RECORD_HEADER_BYTES])
        await transport.transport._send(flight[:end])  # noqa: SLF001
        flight = flight[end:]
