"""What aiortc keeps private is touched here and in `rtc/sctp.py` alone; it is checked at import, by the exact version.

aiortc does DTLS, SCTP and data channels for us; ICE, RTP and the socket are our own (ADR 7). Its DTLS transport takes
anything that can `_recv` and `_send` datagrams.
"""

from collections.abc import Callable, Coroutine
from importlib.metadata import version
from types import ModuleType
from typing import Any, Protocol

import pylibsrtp
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCSctpTransport,
)
from aiortc.rtcdtlstransport import SRTPProtectionProfile, State
from OpenSSL import SSL
from pylibsrtp import Session

from services.media.core.handshake import DtlsFailure, Handshake
from services.media.rtc import tls
from services.media.rtc.srtp import Buffer, InPlace

TESTED = {"aiortc": "1.16.0", "aioice": "0.13.0", "pylibsrtp": "1.0.0"}
_Needed = tuple[tuple[str, type | ModuleType, tuple[str, ...]], ...]
"""Package, owner, names."""
_NEEDED: _Needed = (
    ("aiortc", RTCCertificate, ("_create_ssl_context",)),
    (
        "aiortc",
        RTCDtlsTransport,
        ("_do_handshake", "_recv_next", "_set_role", "_set_state", "_setup_srtp", "_validate_peer_identity"),
    ),
    (
        "aiortc",
        RTCSctpTransport,
        ("_handle_data", "_mark_received", "_receive_chunk", "_send", "_send_chunk", "_send_sack"),
    ),
    ("pylibsrtp", pylibsrtp, ("_binding", "SRTP_MAX_TRAILER_LEN")),
)


class UnsupportedVersionError(ImportError):
    """The WebRTC stack is not the one whose inner parts were checked."""

    def __init__(self, package: str, found: str, what: str) -> None:
        super().__init__(
            f"{package} {found}: {what}; this media process is built for {TESTED[package]}, install that version"
        )


def check(versions: dict[str, str], needed: _Needed = _NEEDED) -> None:
    """Make sure that what is used below is there.

    Raises:
        UnsupportedVersionError: another version, or a name is gone.
    """
    for package, tested in TESTED.items():
        if (found := versions[package]) != tested:
            raise UnsupportedVersionError(package, found, "its inner parts were not checked")
    for package, owner, names in needed:
        for name in names:
            if not hasattr(owner, name):
                raise UnsupportedVersionError(package, versions[package], f"{owner.__name__}.{name} is gone")


check({package: version(package) for package in TESTED})

_RECORD_BYTES = 1500
"""As aiortc reads: what fits into an Ethernet frame."""
_srtp: Any = pylibsrtp._binding  # noqa: SLF001 - this module's purpose
_buffer = Buffer(_srtp.ffi)


def at_once(step: Coroutine[Any, Any, None]) -> None:
    """Carry out a step of aiortc without a task for it: all that its SCTP waits for in the end is `DatagramPath._send`.

    With 180 calls that are told what is said, tasks and wake-ups for each event took 3 % of a core (ADR 13).

    Raises:
        RuntimeError: it waits for something else; another version of aiortc might.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError(f"{step} waits")


class DatagramPath(Protocol):
    """What carries DTLS datagrams: the part of aiortc's ICE transport that its DTLS transport uses."""

    role: str

    async def _recv(self) -> bytes: ...

    async def _send(self, data: bytes) -> None: ...


class Certificate(RTCCertificate):
    """One per process: key, certificate and OpenSSL's context are made once and shared by all calls."""

    _context: SSL.Context | None = None

    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        if self._context is None:
            profiles = b":".join(profile.openssl_profile for profile in srtp_profiles)
            self._context = tls.make_context(self._cert, self._key, srtp_profiles=profiles)
        return self._context

    @property
    def sha256(self) -> str:
        """Its fingerprint, for the SDP."""
        return next(print_.value for print_ in self.getFingerprints() if print_.algorithm == "sha-256")


class Dtls(RTCDtlsTransport):
    """DTLS of one call. Its SRTP sessions are used from outside: media never passes through here."""

    def __init__(self, path: DatagramPath, certificate: Certificate, *, active: bool) -> None:
        super().__init__(path, [certificate])  # type: ignore[arg-type]
        self._set_role("client" if active else "server")
        self._handshake = Handshake(expected="")
        self._failure: DtlsFailure | None = None

    @property
    def alert(self) -> int | None:
        """The number of the alert that the peer has sent last."""
        return self._handshake.alert_received

    async def shake_hands(self, fingerprint: str) -> DtlsFailure | None:
        """Set DTLS and SRTP up with the peer whose certificate has the SHA-256 ``fingerprint``.

        Returns:
            Why that failed, or None: it is set up.
        """
        self._handshake = Handshake(fingerprint)
        await self.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", fingerprint)]))
        if self._state is State.CONNECTED:
            return None
        return self._failure or DtlsFailure.NO_SRTP_PROFILE  # all that aiortc still judges itself

    async def _do_handshake(self) -> None:
        """As aiortc's own, which throws away what OpenSSL says of a failure, and the alert that tells the peer."""
        if self._ssl is None:  # aiortc has made it
            raise ConnectionError
        receive = self.transport._recv  # noqa: SLF001 - this module's purpose
        failure = await tls.shake_hands(self._ssl, self._handshake, receive=receive, flush=self._write_ssl)
        if failure is not None:
            self._fail(failure)
        self.encrypted = failure is None

    def _validate_peer_identity(self, _: RTCDtlsParameters) -> None:
        if not self._handshake.is_checked:  # tls.py has checked the certificate that there was
            self._fail(DtlsFailure.NO_CERTIFICATE)

    def _fail(self, failure: DtlsFailure) -> None:
        self._failure = failure
        self._set_state(State.FAILED)

    def take(self, datagram: bytes, records: int) -> bool:
        """Take a datagram of so many records at once, when the handshake is over; False: the peer has said goodbye.

        Raises:
            ConnectionError: DTLS is over already.
        """
        if (ssl := self._ssl) is None:
            raise ConnectionError
        ssl.bio_write(datagram)
        for _ in range(records):  # what is not read now would be read with the next datagram, and pile up
            try:
                data = ssl.recv(_RECORD_BYTES)
            except SSL.Error as exc:  # nothing for us: OpenSSL may have an answer, as when our last flight was lost
                at_once(self._write_ssl())
                return not isinstance(exc, SSL.ZeroReturnError)
            if data and self._data_receiver is not None:
                at_once(self._data_receiver._handle_data(data))  # noqa: SLF001 - this module's purpose
        return True

    @property
    def unprotect(self) -> Callable[[bytes], bytes]:
        """Verify and decrypt an SRTP packet; raises pylibsrtp.Error for what is not the peer's."""
        return self._in_place(self._inbound, _srtp.lib.srtp_unprotect, grows=0)

    @property
    def unprotect_rtcp(self) -> Callable[[bytes], bytes]:
        """The same for SRTCP."""
        return self._inbound.unprotect_rtcp

    @property
    def protect(self) -> Callable[[bytes], bytes]:
        """Encrypt and sign an RTP packet."""
        return self._in_place(self._outbound, _srtp.lib.srtp_protect, grows=pylibsrtp.SRTP_MAX_TRAILER_LEN)

    @property
    def protect_rtcp(self) -> Callable[[bytes], bytes]:
        """The same for RTCP."""
        return self._outbound.protect_rtcp

    def forget_stream(self, ssrc: int) -> None:
        """The peer sends by another SSRC now: libsrtp would keep the state of each for ever."""
        self._inbound.remove_stream(ssrc)

    def _in_place(self, session: Session, function: Callable[..., int], *, grows: int) -> Callable[[bytes], bytes]:
        """What ``session`` does with a packet, without the objects that it makes for each."""
        context = session._srtp[0]  # noqa: SLF001 - this module's purpose
        return InPlace(_buffer, function, (context, session), grows=grows).process

    @property
    def _inbound(self) -> Session:
        return self._rx_srtp

    @property
    def _outbound(self) -> Session:
        return self._tx_srtp
