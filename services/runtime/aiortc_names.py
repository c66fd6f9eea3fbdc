"""The private names of aiortc, aioice and pylibsrtp that this project uses: one table, checked at process start.

A test compares the table with what the code uses, so an unused row fails it, and a new row is a deliberate decision.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import FunctionType, ModuleType
from typing import Literal

from services.runtime.errors import HushgateError

User = Literal["media", "callers"]
VERSIONS: Mapping[str, str] = {"aiortc": "1.16.0", "aioice": "0.13.0", "pylibsrtp": "1.0.0"}
"""The versions whose private parts were reviewed; the lock files pin the same ones."""


@dataclass(frozen=True, slots=True)
class PrivateName:
    """A private ``name`` of ``owner``, the path of a class or module. Names with two underscores are stored mangled."""

    owner: str
    name: str
    users: tuple[User, ...]
    why: str

    @property
    def package(self) -> str:
        """The distribution that defines it."""
        return self.owner.partition(".")[0]


_MEDIA: tuple[User, ...] = ("media",)
_CALLERS: tuple[User, ...] = ("callers",)
_BOTH: tuple[User, ...] = ("media", "callers")
_CERTIFICATE = "aiortc.RTCCertificate"
_CONNECTION = "aioice.ice.Connection"
_DTLS = "aiortc.RTCDtlsTransport"
_GATHERER = "aiortc.RTCIceGatherer"
_ICE = "aiortc.RTCIceTransport"
_PEER = "aiortc.RTCPeerConnection"
_RECEIVER = "aiortc.RTCRtpReceiver"
_SCTP = "aiortc.RTCSctpTransport"
_SENDER = "aiortc.RTCRtpSender"
NAMES: tuple[PrivateName, ...] = (
    PrivateName(_CERTIFICATE, "_cert", _MEDIA, "our OpenSSL context presents it"),
    PrivateName(_CERTIFICATE, "_create_ssl_context", _MEDIA, "overridden: our suites, one context for all calls"),
    PrivateName(_CERTIFICATE, "_key", _MEDIA, "our OpenSSL context signs with it"),
    PrivateName(_CONNECTION, "_nominated", _CALLERS, "the socket and address that ICE chose"),
    PrivateName(_CONNECTION, "_protocols", _CALLERS, "holds the STUN protocols of our own sockets"),
    PrivateName(_CONNECTION, "get_component_candidates", _CALLERS, "replaced: our own sockets, 127.0.0.1 offline"),
    PrivateName(_DTLS, "_data_receiver", _MEDIA, "records are passed to SCTP in the read handler"),
    PrivateName(_DTLS, "_do_handshake", _MEDIA, "overridden: reports why a handshake failed, and sends the alert"),
    PrivateName(_DTLS, "_register_rtp_receiver", _CALLERS, "RTP and RTCP that arrive are routed by it"),
    PrivateName(_DTLS, "_register_rtp_sender", _CALLERS, "RTCP that arrives is routed by it"),
    PrivateName(_DTLS, "_rx_srtp", _MEDIA, "packets are decrypted in the read handler"),
    PrivateName(_DTLS, "_set_role", _MEDIA, "sets the role from the SDP answer"),
    PrivateName(_DTLS, "_set_state", _MEDIA, "set when our handshake fails"),
    PrivateName(_DTLS, "_ssl", _BOTH, "records are decrypted in the read handler; the SRTP profile"),
    PrivateName(_DTLS, "_state", _MEDIA, "whether the handshake has succeeded"),
    PrivateName(_DTLS, "_tx_srtp", _BOTH, "packets are encrypted where they are built"),
    PrivateName(_DTLS, "_validate_peer_identity", _MEDIA, "overridden: OpenSSL's callback verified the certificate"),
    PrivateName(_DTLS, "_write_ssl", _MEDIA, "sends OpenSSL's pending output"),
    PrivateName(_GATHERER, "_connection", _CALLERS, "the aioice connection, before it gathers"),
    PrivateName(_ICE, "_connection", _CALLERS, "the aioice connection, once it is up"),
    PrivateName(_ICE, "_recv", _MEDIA, "supplied: aiortc's DTLS receives datagrams from our path"),
    PrivateName(_ICE, "_send", _MEDIA, "supplied: aiortc's DTLS sends datagrams on our path"),
    PrivateName(_PEER, "_RTCPeerConnection__certificates", _CALLERS, "one certificate for all calls of a process"),
    PrivateName(_RECEIVER, "_handle_rtp_packet", _CALLERS, "replaced: receives every packet as it arrives"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__jitter_buffer", _CALLERS, "replaced: nothing is decoded"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__lsr", _CALLERS, "our reports: the last sender report of each source"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__lsr_time", _CALLERS, "our reports: when that arrived"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__remote_streams", _CALLERS, "our reports: what was received"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__rtcp_exited", _CALLERS, "`stop` waits for it"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__rtcp_started", _CALLERS, "`stop` waits for it"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__rtcp_task", _CALLERS, "`stop` cancels it"),
    PrivateName(_RECEIVER, "_RTCRtpReceiver__started", _CALLERS, "`stop` checks it"),
    PrivateName(_RECEIVER, "receive", _CALLERS, "replaced: no decoder thread, no reports of its own"),
    PrivateName(_SCTP, "_advertised_rwnd", _MEDIA, "bounds the bytes that a peer can make us buffer"),
    PrivateName(_SCTP, "_association_state", _MEDIA, "whether an event can be sent at once"),
    PrivateName(_SCTP, "_cwnd", _MEDIA, "bounds the bytes in flight"),
    PrivateName(_SCTP, "_data_channel_queue", _MEDIA, "whether an event can be sent at once"),
    PrivateName(_SCTP, "_data_channels", _MEDIA, "identifies channels negotiated out of band"),
    PrivateName(_SCTP, "_get_inbound_stream", _MEDIA, "overridden: aiortc's streams scan all fragments for each one"),
    PrivateName(_SCTP, "_handle_data", _MEDIA, "overridden: each packet is validated first"),
    PrivateName(_SCTP, "_inbound_streams", _MEDIA, "bytes buffered per stream"),
    PrivateName(_SCTP, "_last_received_tsn", _MEDIA, "a chunk's TSN is validated against it"),
    PrivateName(_SCTP, "_local_tsn", _MEDIA, "a SACK is validated against it"),
    PrivateName(_SCTP, "_local_verification_tag", _MEDIA, "a packet must carry it"),
    PrivateName(_SCTP, "_mark_received", _MEDIA, "overridden: aiortc's sorts all pending chunks for each chunk"),
    PrivateName(_SCTP, "_outbound_queue", _MEDIA, "whether an event can be sent at once"),
    PrivateName(_SCTP, "_receive", _MEDIA, "overridden: channels negotiated out of band"),
    PrivateName(_SCTP, "_receive_chunk", _MEDIA, "handles a validated chunk"),
    PrivateName(_SCTP, "_receive_data_chunk", _MEDIA, "overridden: long messages share the memory of the process"),
    PrivateName(_SCTP, "_remote_max_message_size", _MEDIA, "whether an event can be sent at once"),
    PrivateName(_SCTP, "_sack_duplicates", _MEDIA, "`_mark_received` is ours"),
    PrivateName(_SCTP, "_sack_misordered", _MEDIA, "`_mark_received` is ours"),
    PrivateName(_SCTP, "_sack_needed", _MEDIA, "whether a packet needs a SACK"),
    PrivateName(_SCTP, "_send", _MEDIA, "sends an event without a task"),
    PrivateName(_SCTP, "_send_chunk", _MEDIA, "overridden: aiortc's timers send after DTLS has closed"),
    PrivateName(_SCTP, "_send_sack", _MEDIA, "acknowledges a validated packet, and tells the window"),
    PrivateName(_SCTP, "_sent_queue", _MEDIA, "a SACK is validated against it"),
    PrivateName(_SENDER, "_send_rtcp", _CALLERS, "sends our reports"),
    PrivateName(_SENDER, "_ssrc", _CALLERS, "the SSRC of our packets"),
    PrivateName(_SENDER, "_RTCRtpSender__cname", _CALLERS, "our reports contain it"),
    PrivateName(_SENDER, "_RTCRtpSender__ntp_timestamp", _CALLERS, "our reports, and aiortc's round-trip time"),
    PrivateName(_SENDER, "_RTCRtpSender__octet_count", _CALLERS, "our reports, and aiortc's statistics"),
    PrivateName(_SENDER, "_RTCRtpSender__packet_count", _CALLERS, "our reports, and aiortc's statistics"),
    PrivateName(_SENDER, "_RTCRtpSender__rtcp_exited", _CALLERS, "`stop` waits for it"),
    PrivateName(_SENDER, "_RTCRtpSender__rtcp_started", _CALLERS, "`stop` waits for it"),
    PrivateName(_SENDER, "_RTCRtpSender__rtcp_task", _CALLERS, "`stop` cancels it: our reports"),
    PrivateName(_SENDER, "_RTCRtpSender__rtp_exited", _CALLERS, "`stop` waits for it"),
    PrivateName(_SENDER, "_RTCRtpSender__rtp_started", _CALLERS, "`stop` waits for it"),
    PrivateName(_SENDER, "_RTCRtpSender__rtp_task", _CALLERS, "`stop` cancels it"),
    PrivateName(_SENDER, "_RTCRtpSender__rtp_timestamp", _CALLERS, "our reports"),
    PrivateName(_SENDER, "_RTCRtpSender__started", _CALLERS, "`stop` checks it"),
    PrivateName(_SENDER, "send", _CALLERS, "replaced: no task that encodes, no reports of its own"),
    PrivateName("pylibsrtp", "_binding", _MEDIA, "libsrtp's functions, without an object per packet"),
    PrivateName("pylibsrtp.Session", "_srtp", _MEDIA, "the context that libsrtp's functions need"),
)


class UnsupportedVersionError(HushgateError):
    """The installed WebRTC stack is not the version whose private parts were reviewed."""

    def __init__(self, package: str, found: str, what: str) -> None:
        super().__init__(f"{package} {found}: {what}; this needs {VERSIONS[package]}, install that version")


def check(user: User, *, versions: Mapping[str, str] | None = None, names: Sequence[PrivateName] = NAMES) -> None:
    """Check that the installed stack has every private name that ``user`` uses. Call it once at process start.

    ``versions`` are checked instead of the installed ones.

    Raises:
        UnsupportedVersionError: a version differs, or a name no longer exists.
    """
    found = versions if versions is not None else {package: version(package) for package in VERSIONS}
    for package, tested in VERSIONS.items():
        if found[package] != tested:
            raise UnsupportedVersionError(package, found[package], "its private parts were not reviewed")
    for row in names:
        if user in row.users and not declares(find(row.owner), row.name):
            raise UnsupportedVersionError(
                row.package, found[row.package], f"{row.owner}.{row.name} does not exist ({row.why})"
            )


def declares(owner: type | ModuleType, name: str) -> bool:
    """Return whether ``owner`` has ``name`` as an attribute, or as a field that its methods assign to ``self``."""
    return hasattr(owner, name) or (
        isinstance(owner, type)
        and any(
            isinstance(member, FunctionType) and name in member.__code__.co_names
            for base in owner.__mro__
            for member in vars(base).values()
        )
    )


def find(path: str) -> type | ModuleType:
    """Import the class or module at ``path``; the module itself when it has no such class."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        found: type | ModuleType = getattr(importlib.import_module(module), name, ModuleType(path))
        return found
