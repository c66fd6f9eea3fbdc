"""The only place of the callers that touches what aiortc and aioice keep private. Checked at import.

A caller changes its own peer connection only, so that others live beside it in the same process.
"""

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import aioice.ice
from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCCertificate, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc import clock as rtc_clock
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.rtp import RtpPacket

from services.callers.datagrams import DatagramSocket, HearRtp

TESTED = {"aiortc": "1.16.0", "aioice": "0.13.0"}
_SENDER, _RECEIVER = "_RTCRtpSender__", "_RTCRtpReceiver__"


class UnsupportedVersionError(ImportError):
    """The WebRTC stack is not the one whose inner parts were checked."""

    def __init__(self, package: str, found: str, what: str) -> None:
        super().__init__(f"{package} {found}: {what}; callers are built for {TESTED[package]}, install that version")


def _check() -> None:
    for package, tested in TESTED.items():
        if (found := version(package)) != tested:
            raise UnsupportedVersionError(package, found, "its inner parts were not checked")
    parts = (
        ("aioice", aioice.ice, ("get_host_addresses", "StunProtocol")),
        ("aioice", aioice.ice.Connection, ("get_component_candidates",)),
        ("aiortc", RTCRtpReceiver, ("_handle_rtp_packet", "_run_rtcp", "receive")),
        ("aiortc", RTCRtpSender, ("_run_rtcp", "send")),
    )
    for package, owner, names in parts:
        for name in names:
            if not hasattr(owner, name):
                raise UnsupportedVersionError(package, version(package), f"{owner.__name__}.{name} is gone")


_check()


def _with_loopback_when_alone() -> None:
    """Let aioice use 127.0.0.1 where there is nothing else: it leaves loopback out, a laptop offline has no other."""
    host_addresses = aioice.ice.get_host_addresses

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:  # noqa: FBT001 - aioice's signature
        return host_addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]

    aioice.ice.get_host_addresses = addresses


_with_loopback_when_alone()


class _NoJitterBuffer:
    """Takes packets and never gives a frame, so that aiortc decodes nothing; its RTCP reports go on."""

    def add(self, _: RtpPacket) -> tuple[bool, None]:
        return False, None


def tap(receiver: RTCRtpReceiver, hear: Callable[[RtpPacket], None]) -> None:
    """Give every packet of ``receiver`` to ``hear`` as it arrives, and decode none."""
    pass_on = receiver._handle_rtp_packet  # noqa: SLF001 - aiortc has no hook for packets
    setattr(receiver, f"{_RECEIVER}jitter_buffer", _NoJitterBuffer())

    async def tapped(packet: RtpPacket, arrival_time_ms: int) -> None:
        hear(packet)
        await pass_on(packet, arrival_time_ms)

    receiver._handle_rtp_packet = tapped  # type: ignore[method-assign]  # noqa: SLF001


def share_certificate(peer: RTCPeerConnection, certificate: RTCCertificate) -> None:
    """Use ``certificate`` instead of a new one; before ``peer`` has a transceiver or channel."""
    peer._RTCPeerConnection__certificates = [certificate]  # type: ignore[attr-defined]  # noqa: SLF001


def own_sockets(sender: RTCRtpSender, hear: HearRtp) -> None:
    """Let the ICE connection under ``sender`` use our sockets, which give RTP to ``hear`` and it all the rest."""
    connection = sender.transport.transport.iceGatherer._connection  # noqa: SLF001 - this module's purpose

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109 - aioice's
        del timeout
        candidates: list[Candidate] = []
        for address in addresses:
            protocol = aioice.ice.StunProtocol(connection)
            try:
                bound = DatagramSocket(address, protocol, hear)
            except OSError:
                continue  # as aioice does: an address that cannot be bound is not offered
            protocol.connection_made(bound)
            host, port = bound.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            connection._protocols.append(protocol)  # noqa: SLF001 - this module's purpose
            candidates.append(protocol.local_candidate)
        return candidates

    connection.get_component_candidates = gather  # type: ignore[method-assign]


def rtcp_only(sender: RTCRtpSender, receiver: RTCRtpReceiver, *, ready: Callable[[RTCRtpSendParameters], None]) -> None:
    """Let aiortc negotiate and report, but move no media. ``ready`` is told when both ways are open."""
    negotiated: list[RTCRtpSendParameters] = []

    async def send(parameters: RTCRtpSendParameters) -> None:
        if _get(sender, _SENDER, "started"):
            return
        _set(sender, _SENDER, cname=parameters.rtcp.cname)
        sender.transport._register_rtp_sender(sender, parameters)  # noqa: SLF001 - this module's purpose
        for event in ("rtp_started", "rtp_exited"):
            _get(sender, _SENDER, event).set()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        _set(sender, _SENDER, rtp_task=done, rtcp_task=asyncio.ensure_future(sender._run_rtcp()), started=True)  # noqa: SLF001
        negotiated.append(parameters)

    async def receive(parameters: RTCRtpReceiveParameters) -> None:
        if _get(receiver, _RECEIVER, "started"):
            return
        receiver.transport._register_rtp_receiver(receiver, parameters)  # noqa: SLF001 - this module's purpose
        _set(receiver, _RECEIVER, rtcp_task=asyncio.ensure_future(receiver._run_rtcp()), started=True)  # noqa: SLF001
        ready(negotiated[-1])

    sender.send = send  # type: ignore[method-assign]
    receiver.receive = receive  # type: ignore[method-assign]


def report_reception(receiver: RTCRtpReceiver, ssrc: int, stream: object) -> None:
    """Let receiver reports tell of ``stream``: `fraction_lost`, `packets_lost`, `max_seq`, `jitter`."""
    _get(receiver, _RECEIVER, "remote_streams")[ssrc] = stream


def report_sending(sender: RTCRtpSender, *, packets: int, octets: int, timestamp: int) -> None:
    """Let the next sender report tell this; ``timestamp`` is the RTP time of now."""
    _set(
        sender,
        _SENDER,
        packet_count=packets,
        octet_count=octets,
        rtp_timestamp=timestamp,
        ntp_timestamp=rtc_clock.current_ntp_time(),
    )


def ssrc_of(sender: RTCRtpSender) -> int:
    """The source that ``sender`` is known by."""
    return int(sender._ssrc)  # noqa: SLF001 - this module's purpose


def protector(sender: RTCRtpSender) -> Callable[[bytes], bytes]:
    """What makes SRTP of RTP, once the transport is connected."""
    protect: Callable[[bytes], bytes] = sender.transport._tx_srtp.protect  # noqa: SLF001 - this module's purpose
    return protect


def tag_bytes(sender: RTCRtpSender) -> int:
    """How much SRTP's authentication adds to a packet, once the transport is connected."""
    ssl: Any = sender.transport._ssl  # noqa: SLF001 - this module's purpose
    return 16 if ssl.get_selected_srtp_profile().endswith(b"GCM") else 10


def path(sender: RTCRtpSender) -> tuple[asyncio.DatagramTransport, tuple[str, int]] | None:
    """The socket and address that ICE chose; None when the connection is gone."""
    pair = sender.transport.transport._connection._nominated.get(1)  # noqa: SLF001 - this module's purpose
    return (pair.protocol.transport, pair.remote_addr) if pair else None


def _get(owner: object, prefix: str, name: str) -> Any:  # noqa: ANN401 - it is not ours
    return getattr(owner, f"{prefix}{name}")


def _set(owner: object, prefix: str, **values: object) -> None:
    for name, value in values.items():
        setattr(owner, f"{prefix}{name}", value)
