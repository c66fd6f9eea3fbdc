"""DTLS on pyOpenSSL and pylibsrtp without aiortc: the prototype that `handshakes.py` compares with the media process's.

ADR 23 tells what a complete one would add, and why there is none.
"""

import contextlib
from dataclasses import dataclass

from OpenSSL import SSL
from pylibsrtp import Policy, Session

from services.media.core.network.handshake import DtlsFailure, Handshake
from services.media.legs.webrtc import tls
from services.media.legs.webrtc.private import DatagramPath

_FLIGHT_BYTES = 65_536
_LABEL = b"EXTRACTOR-dtls_srtp"
_WINDOW_PACKETS = 1024


@dataclass(frozen=True, slots=True)
class SrtpProfile:
    """A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2): OpenSSL's name, libsrtp's number, lengths of keys."""

    name: bytes
    number: int
    key_bytes: int
    salt_bytes: int

    def sessions(self, connection: SSL.Connection, *, active: bool) -> tuple[Session, Session]:
        """The SRTP sessions of both sides, from the keys of the handshake (RFC 5764 §4.2)."""
        key, salt = self.key_bytes, self.salt_bytes
        material = connection.export_keying_material(_LABEL, 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        ours, peers = (client, server) if active else (server, client)
        return self._session(ours, Policy.SSRC_ANY_OUTBOUND), self._session(peers, Policy.SSRC_ANY_INBOUND)

    def _session(self, key: bytes, direction: int) -> Session:
        policy = Policy(key=key, ssrc_type=direction, srtp_profile=self.number)
        policy.allow_repeat_tx = True
        policy.window_size = _WINDOW_PACKETS
        return Session(policy)


PROFILES = (
    SrtpProfile(b"SRTP_AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
    SrtpProfile(b"SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    SrtpProfile(b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
)


class DirectDtls:
    """The handshake of one call, and its SRTP sessions."""

    def __init__(self, path: DatagramPath, context: SSL.Context, *, active: bool) -> None:
        self._path = path
        self._active = active
        self._connection = SSL.Connection(context)
        self._connection.set_connect_state() if active else self._connection.set_accept_state()
        self.sessions: tuple[Session, Session] | None = None
        """The SRTP sessions of both sides, once the handshake has succeeded."""

    async def run_handshake(self, fingerprint: str) -> DtlsFailure | None:
        """Run the handshake and set up SRTP; returns the reason of a failure."""
        handshake = Handshake(fingerprint)
        receive = self._path._recv  # noqa: SLF001 - as the path is made for aiortc
        failure = await tls.run_handshake(self._connection, handshake, receive=receive, flush=self._flush)
        if failure is not None:
            return failure
        if not handshake.is_checked:
            return DtlsFailure.NO_CERTIFICATE
        selected = self._connection.get_selected_srtp_profile()
        profile = next((profile for profile in PROFILES if profile.name == selected), None)
        if profile is None:
            return DtlsFailure.NO_SRTP_PROFILE
        self.sessions = profile.sessions(self._connection, active=self._active)
        return None

    async def stop(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(SSL.Error, ConnectionError):
            self._connection.shutdown()
            await self._flush()

    async def _flush(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            await self._path._send(self._connection.bio_read(_FLIGHT_BYTES))  # noqa: SLF001 - as above
