"""The only user of aiortc's private names, with `sctp.py` beside it: `runtime/aiortc_names.py` lists them.

aiortc does DTLS, SCTP and data channels; ICE, RTP and the socket are our own (ADR 7). Its DTLS transport accepts any
object that can `_recv` and `_send` datagrams.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import pylibsrtp
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcdtlstransport import SRTPProtectionProfile, State
from OpenSSL import SSL
from pylibsrtp import Session

from services.media.core.network.handshake import DtlsFailure, Handshake
from services.media.legs.webrtc import tls
from services.media.legs.webrtc.srtp import Buffer, InPlace

_RECORD_BYTES = 1500
"""aiortc's read size: the payload of an Ethernet frame."""
_srtp: Any = pylibsrtp._binding
_buffer = Buffer(_srtp.ffi)


def run_synchronously(step: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine of aiortc without a task: its SCTP awaits only `DatagramPath._send`, which never suspends.

    With 180 calls that receive transcripts, tasks and wake-ups for each event took 3 % of a core (ADR 13).

    Raises:
        RuntimeError: it awaits something else; another version of aiortc might.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError(f"{step} waits")


class DatagramPath(Protocol):
    """The part of aiortc's ICE transport that its DTLS transport uses: sends and receives DTLS datagrams."""

    role: str

    async def _recv(self) -> bytes: ...

    async def _send(self, data: bytes) -> None: ...


class Certificate(RTCCertificate):
    """The certificate of a process; key, certificate and OpenSSL context are shared by all calls."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            profiles = b":".join(profile.openssl_profile for profile in srtp_profiles)
            self._context = tls.make_context(self._cert, self._key, srtp_profiles=profiles)
        return self._context

    @property
    def sha256(self) -> str:
        """The SHA-256 fingerprint as the SDP has it."""
        return next(print_.value for print_ in self.getFingerprints() if print_.algorithm == "sha-256")


class Dtls(RTCDtlsTransport):
    """DTLS of one call. Media packets bypass it: they use its SRTP sessions by `protect` and `unprotect`."""

    def __init__(self, path: DatagramPath, certificate: Certificate, *, active: bool) -> None:
        super().__init__(path, [certificate])  # type: ignore[arg-type]
        self._set_role("client" if active else "server")
        self._handshake = Handshake(expected="")
        self._failure: DtlsFailure | None = None

    @property
    def alert(self) -> int | None:
        """The code of the peer's last alert."""
        return self._handshake.alert_received

    async def run_handshake(self, fingerprint: str) -> DtlsFailure | None:
        """Run the handshake with the peer whose certificate has the SHA-256 ``fingerprint``; sets up SRTP.

        Returns:
            Why it failed, or None on success.
        """
        self._handshake = Handshake(fingerprint)
        await self.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", fingerprint)]))
        if self._state is State.CONNECTED:
            return None
        return self._failure or DtlsFailure.NO_SRTP_PROFILE  # the only check that aiortc does itself

    async def _do_handshake(self) -> None:
        """Replaces aiortc's own, which discards OpenSSL's error and the alert for the peer."""
        if self._ssl is None:  # aiortc made it before
            raise ConnectionError
        receive = self.transport._recv
        failure = await tls.run_handshake(self._ssl, self._handshake, receive=receive, flush=self._write_ssl)
        if failure is not None:
            self._fail(failure)
        self.encrypted = failure is None

    def _validate_peer_identity(self, _: RTCDtlsParameters) -> None:
        if not self._handshake.is_checked:  # tls.py has checked the certificate, if there was one
            self._fail(DtlsFailure.NO_CERTIFICATE)

    def _fail(self, failure: DtlsFailure) -> None:
        self._failure = failure
        self._set_state(State.FAILED)

    def receive_records(self, datagram: bytes, records: int) -> bool:
        """Process a datagram of ``records`` DTLS records after the handshake; False: the peer has closed DTLS.

        Raises:
            ConnectionError: DTLS is closed already.
        """
        if (ssl := self._ssl) is None:
            raise ConnectionError
        ssl.bio_write(datagram)
        for _ in range(records):  # an unread record would be read with the next datagram, and records would accumulate
            try:
                data = ssl.recv(_RECORD_BYTES)
            except SSL.Error as exc:  # no data: OpenSSL may have a reply, as when our last flight was lost
                run_synchronously(self._write_ssl())
                return not isinstance(exc, SSL.ZeroReturnError)
            if data and self._data_receiver is not None:
                run_synchronously(self._data_receiver._handle_data(data))
        return True

    @property
    def unprotect(self) -> Callable[[bytes], bytes]:
        """A function that verifies and decrypts an SRTP packet; it raises pylibsrtp.Error if that is not the peer's."""
        return self._in_place(self._inbound, _srtp.lib.srtp_unprotect, grows=0)

    @property
    def unprotect_rtcp(self) -> Callable[[bytes], bytes]:
        """A function that verifies and decrypts an SRTCP packet, with the same errors."""
        return self._inbound.unprotect_rtcp

    @property
    def protect(self) -> Callable[[bytes], bytes]:
        """A function that encrypts and signs an RTP packet."""
        return self._in_place(self._outbound, _srtp.lib.srtp_protect, grows=pylibsrtp.SRTP_MAX_TRAILER_LEN)

    @property
    def protect_rtcp(self) -> Callable[[bytes], bytes]:
        """A function that encrypts and signs an RTCP packet."""
        return self._outbound.protect_rtcp

    def forget_stream(self, ssrc: int) -> None:
        """Free libsrtp's state for an SSRC of the peer; libsrtp itself never does."""
        self._inbound.remove_stream(ssrc)

    def _in_place(self, session: Session, function: Callable[..., int], *, grows: int) -> Callable[[bytes], bytes]:
        """Wrap a function of ``session`` so that it allocates nothing per packet."""
        context = session._srtp[0]
        return InPlace(_buffer, function, (context, session), grows=grows).process

    @property
    def _inbound(self) -> Session:
        return self._rx_srtp

    @property
    def _outbound(self) -> Session:
        return self._tx_srtp
