"""The only place that touches what aiortc keeps private: checked at import, against the exact version.

aiortc does DTLS, SCTP and data channels for us; ICE, RTP and the socket are our own (ADR 7). Its DTLS transport takes
anything that can `_recv` and `_send` datagrams.
"""

import contextlib
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from types import ModuleType
from typing import Any, Protocol

import pylibsrtp
from aiortc import (
    RTCCertificate,
    RTCDataChannel,
    RTCDataChannelParameters,
    RTCDtlsTransport,
    RTCSctpTransport,
)
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from aiortc.rtcsctptransport import (
    WEBRTC_BINARY,
    WEBRTC_BINARY_EMPTY,
    WEBRTC_STRING,
    WEBRTC_STRING_EMPTY,
    Chunk,
    InitChunk,
    parse_packet,
)
from OpenSSL import SSL
from pylibsrtp import Session

from services.media.core.sctp import MAX_HELD_BYTES, Association, Refused, SctpDropped, SctpInspector
from services.media.rtc.srtp import Buffer, InPlace
from services.runtime import clock

TESTED = {"aiortc": "1.16.0", "aioice": "0.13.0", "pylibsrtp": "1.0.0"}
_Needed = tuple[tuple[str, type | ModuleType, tuple[str, ...]], ...]
"""Package, owner, names."""
_NEEDED: _Needed = (
    ("aiortc", RTCCertificate, ("_create_ssl_context",)),
    ("aiortc", RTCDtlsTransport, ("_recv_next", "_set_role", "_setup_srtp")),
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
_MAX_CWND = 64 * 1024
"""A peer that acknowledges all would let it grow without end, and each of its SACKs costs a pass over what is out."""
_MESSAGES = frozenset((WEBRTC_STRING, WEBRTC_BINARY, WEBRTC_STRING_EMPTY, WEBRTC_BINARY_EMPTY))
_TSN_MASK, _HALF = 0xFFFFFFFF, 0x80000000
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
            self._context = super()._create_ssl_context(srtp_profiles)
            self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # records are rare: 34 KB less for each call
            self._context.set_options(SSL.OP_NO_RENEGOTIATION)  # a HelloRequest costs its sender nothing and us a key
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


class SctpOwner(Protocol):
    """Who is told what became of the peer's packets."""

    def dropped(self, reason: SctpDropped, *, flood: bool) -> None:
        """A packet, or the rest of one, was thrown away. ``flood``: nothing more is read."""

    def failed(self) -> None:
        """A packet broke aiortc: nothing more is read. The exception is being handled now."""


class Sctp(RTCSctpTransport):
    """SCTP of one call. aiortc gets no more of its peer's packets than `SctpInspector` lets through."""

    def __init__(self, dtls: Dtls, owner: SctpOwner) -> None:
        super().__init__(dtls)
        self._owner = owner
        self._inspector = SctpInspector()
        self._over = False
        self._advertised_rwnd = MAX_HELD_BYTES

    def send_text(self, channel: RTCDataChannel, text: str) -> None:
        """Send ``text`` on ``channel``, at once if nothing is in front of it.

        Raises:
            InvalidStateError: the channel is closed.
            ValueError: it is longer than the peer takes.
            ConnectionError: DTLS is over.
        """
        data, stream = text.encode(), channel.id
        if data and stream is not None and self._is_free(channel, len(data)):
            at_once(self._send(stream, WEBRTC_STRING, data))
        else:
            channel.send(text)

    def _is_free(self, channel: RTCDataChannel, size: int) -> bool:
        """Nothing waits to be sent, and the channel is an ordinary one that takes so much."""
        longest = self._remote_max_message_size
        return (
            self._association_state is self.State.ESTABLISHED
            and not self._data_channel_queue
            and not self._outbound_queue
            and channel.ordered
            and channel.maxRetransmits is None
            and channel.maxPacketLifeTime is None
            and (not longest or size <= longest)
        )

    async def _handle_data(self, data: bytes) -> None:
        if self._over:
            return
        judged = self._inspector.inspect(data, self._association(), now=clock.monotonic())
        if isinstance(judged, Refused):
            self._over = judged.flood
            self._owner.dropped(judged.reason, flood=judged.flood)
            return
        if judged.rest is not None:
            self._owner.dropped(judged.rest, flood=False)
        try:
            await self._take(data, judged.chunks)
        except ConnectionError:
            raise  # the transport is closing: its business
        except Exception:  # noqa: BLE001 - aiortc asserts and decodes as it goes: any error may come out of bad data
            self._over = True
            self._owner.failed()

    async def _take(self, packet: bytes, chunks: int) -> None:
        """What aiortc does with a packet, for the first ``chunks`` of it."""
        try:
            _, _, tag, found = parse_packet(packet)
        except ValueError:
            self._owner.dropped("sctp_malformed", flood=False)  # the checksum: all else was looked at
            return
        opens = bool(found) and isinstance(found[0], InitChunk)
        if tag != (0 if opens else self._local_verification_tag):
            self._owner.dropped("sctp_unexpected", flood=False)
            return
        for chunk in found[:chunks]:
            await self._receive_chunk(chunk)
        if self._sack_needed:
            await self._send_sack()
        self._cwnd = min(self._cwnd, _MAX_CWND)

    def _association(self) -> Association:
        unsent, streams = self._outbound_queue, self._inbound_streams
        return Association(
            cumulative_tsn=self._last_received_tsn,
            misordered=self._sack_misordered,
            held_chunks=sum(len(stream.reassembly) for stream in streams.values()),
            held_bytes=MAX_HELD_BYTES - self._advertised_rwnd,
            streams=streams,
            next_tsn=unsent[0].tsn if unsent else self._local_tsn,
            outstanding=len(self._sent_queue),
        )

    def _mark_received(self, tsn: int) -> bool:
        """Whether a TSN of the peer has come before. aiortc's own sorts and filters all that wait, for each."""
        waiting, last = self._sack_misordered, self._last_received_tsn or 0  # not None: there is an association
        if not 0 < (tsn - last) & _TSN_MASK < _HALF or tsn in waiting:
            self._sack_duplicates.append(tsn)
            return True
        waiting.add(tsn)
        while (following := (last + 1) & _TSN_MASK) in waiting:
            waiting.remove(following)
            last = following
        self._last_received_tsn = last
        return False

    async def _receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        if pp_id in _MESSAGES and stream_id not in self._data_channels and not self._data_channels:
            # Negotiated outside (RFC 8832 §1): nobody tells us but its first message.
            parameters = RTCDataChannelParameters(negotiated=True, id=stream_id)
            self.emit("datachannel", RTCDataChannel(self, parameters, False))  # noqa: FBT003 - aiortc's
        await super()._receive(stream_id, pp_id, data)

    async def _send_chunk(self, chunk: Chunk) -> None:
        # aiortc's timers send in tasks that nobody waits for; that DTLS is over is told by DTLS itself.
        with contextlib.suppress(ConnectionError):
            await super()._send_chunk(chunk)
