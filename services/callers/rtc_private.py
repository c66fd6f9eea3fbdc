"""The only place of the callers that touches what aiortc and aioice keep private. Checked at import.

A caller changes its own peer connection only, so that others live beside it in the same process.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import aioice.ice
from aioice import Candidate
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCCertificate, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc import clock as rtc_clock
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.rtp import (
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    RtpPacket,
)

from services.callers.datagrams import DatagramSocket, HearRtp
from services.runtime import clock

TESTED = {"aiortc": "1.16.0", "aioice": "0.13.0"}
REPORT_S = 5.0
"""How often a browser reports on audio, give or take a half, the first time after half of it: libwebrtc's
`kDefaultAudioReportInterval`. aiortc reports every second, which a gateway with many calls would have to read."""
_SENDER, _RECEIVER = "_RTCRtpSender__", "_RTCRtpReceiver__"
_CNAME = 1


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
        ("aiortc", RTCRtpReceiver, ("_handle_rtp_packet", "receive")),
        ("aiortc", RTCRtpSender, ("_send_rtcp", "send")),
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
    """Let aiortc negotiate, but move no media; report as browsers do. ``ready`` is told when both ways are open."""
    negotiated: list[RTCRtpSendParameters] = []

    async def send(parameters: RTCRtpSendParameters) -> None:
        if _get(sender, _SENDER, "started"):
            return
        _set(sender, _SENDER, cname=parameters.rtcp.cname)
        sender.transport._register_rtp_sender(sender, parameters)  # noqa: SLF001 - this module's purpose
        for event in ("rtp_started", "rtp_exited", "rtcp_started"):
            _get(sender, _SENDER, event).set()
        _set(
            sender, _SENDER, rtp_task=_done(), rtcp_task=asyncio.ensure_future(_report(sender, receiver)), started=True
        )
        negotiated.append(parameters)

    async def receive(parameters: RTCRtpReceiveParameters) -> None:
        if _get(receiver, _RECEIVER, "started"):
            return
        receiver.transport._register_rtp_receiver(receiver, parameters)  # noqa: SLF001 - this module's purpose
        for event in ("rtcp_started", "rtcp_exited"):
            _get(receiver, _RECEIVER, event).set()
        _set(receiver, _RECEIVER, rtcp_task=_done(), started=True)
        ready(negotiated[-1])

    sender.send = send  # type: ignore[method-assign]
    receiver.receive = receive  # type: ignore[method-assign]


async def _report(sender: RTCRtpSender, receiver: RTCRtpReceiver) -> None:
    """Send one report for both ways when it is due, until cancelled; then say goodbye."""
    source = ssrc_of(sender)
    description = RtcpSdesPacket([RtcpSourceInfo(source, [(_CNAME, _get(sender, _SENDER, "cname").encode())])])
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(REPORT_S / 2)
        while True:
            counts = ("ntp_timestamp", "rtp_timestamp", "packet_count", "octet_count")
            sent = RtcpSenderInfo(*(_get(sender, _SENDER, name) for name in counts))
            report = RtcpSrPacket(source, sent, _receptions(receiver))
            await sender._send_rtcp([report, description])  # noqa: SLF001 - this module's purpose
            await asyncio.sleep(REPORT_S * (0.5 + random.random()))  # noqa: S311 - spreads reports in time
    await sender._send_rtcp([RtcpByePacket([source])])  # noqa: SLF001 - this module's purpose
    _get(sender, _SENDER, "rtcp_exited").set()


def _receptions(receiver: RTCRtpReceiver) -> list[RtcpReceiverInfo]:
    """What `report_reception` was told, and how long ago its sender reported."""
    blocks = []
    for source, stream in _get(receiver, _RECEIVER, "remote_streams").items():
        last_report = _get(receiver, _RECEIVER, "lsr").get(source, 0)
        came_at = _get(receiver, _RECEIVER, "lsr_time").get(source)
        blocks.append(
            RtcpReceiverInfo(
                ssrc=source,
                fraction_lost=stream.fraction_lost,
                packets_lost=stream.packets_lost,
                highest_sequence=stream.max_seq,
                jitter=stream.jitter,
                lsr=last_report,
                dlsr=0 if came_at is None else max(0, int((clock.unix_ms() / 1000 - came_at) * 65536)),
            )
        )
    return blocks


def _done() -> asyncio.Future[None]:
    """In place of a task that is not needed."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


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
