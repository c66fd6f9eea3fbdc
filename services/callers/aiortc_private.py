"""The only module of the callers that uses private names of aiortc and aioice; `runtime/aiortc_names.py` lists them.

It changes objects of the caller's own peer connection only, so other connections in the process are not affected.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
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

from services.callers.datagrams import DatagramSocket, RtpHandler
from services.runtime import clock

REPORT_S = 5.0
"""How often a browser sends RTCP reports for audio, ± 50 %, the first after half of it: libwebrtc's
`kDefaultAudioReportInterval`. aiortc reports every second, which a gateway with many calls would have to parse."""
_CNAME = 1


class _NoJitterBuffer:
    """Discards packets and never returns a frame, so that aiortc decodes nothing; its RTCP reports continue."""

    def add(self, _: RtpPacket) -> tuple[bool, None]:
        return False, None


def set_packet_handler(receiver: RTCRtpReceiver, handler: Callable[[RtpPacket], None]) -> None:
    """Call ``handler`` with every packet of ``receiver`` as it arrives, and decode none."""
    original_handler = receiver._handle_rtp_packet
    _untyped(receiver)._RTCRtpReceiver__jitter_buffer = _NoJitterBuffer()

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        handler(packet)
        await original_handler(packet, arrival_time_ms)

    receiver._handle_rtp_packet = handle  # type: ignore[method-assign]


def share_certificate(peer: RTCPeerConnection, certificate: RTCCertificate) -> None:
    """Use ``certificate`` instead of a new one; call it before ``peer`` has a transceiver or channel."""
    _untyped(peer)._RTCPeerConnection__certificates = [certificate]


def offer_loopback_when_alone(sender: RTCRtpSender) -> None:
    """Let ICE under ``sender`` use 127.0.0.1 when there is no other address: aioice leaves it out.

    Call it before candidates are gathered.
    """
    connection = sender.transport.transport.iceGatherer._connection
    get_candidates = connection.get_component_candidates

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109 - aioice's
        return await get_candidates(component, _or_loopback(addresses), timeout)

    connection.get_component_candidates = gather  # type: ignore[method-assign]


def own_sockets(sender: RTCRtpSender, handler: RtpHandler) -> None:
    """Let the ICE connection under ``sender`` use our sockets, which pass RTP to ``handler`` and the rest to aioice."""
    connection = sender.transport.transport.iceGatherer._connection

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ASYNC109 - aioice's
        del timeout
        candidates: list[Candidate] = []
        for address in _or_loopback(addresses):
            protocol = aioice.ice.StunProtocol(connection)
            try:
                bound = DatagramSocket(address, protocol, handler)
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
            connection._protocols.append(protocol)
            candidates.append(protocol.local_candidate)
        return candidates

    connection.get_component_candidates = gather  # type: ignore[method-assign]


def rtcp_only(sender: RTCRtpSender, receiver: RTCRtpReceiver, *, ready: Callable[[RTCRtpSendParameters], None]) -> None:
    """Let aiortc negotiate, but send no media; report as browsers do. ``ready`` is called when both ways are open."""
    outgoing, incoming = _untyped(sender), _untyped(receiver)
    negotiated: list[RTCRtpSendParameters] = []

    async def send(parameters: RTCRtpSendParameters) -> None:
        if outgoing._RTCRtpSender__started:
            return
        outgoing._RTCRtpSender__cname = parameters.rtcp.cname
        sender.transport._register_rtp_sender(sender, parameters)
        outgoing._RTCRtpSender__rtp_started.set()
        outgoing._RTCRtpSender__rtp_exited.set()
        outgoing._RTCRtpSender__rtcp_started.set()
        outgoing._RTCRtpSender__rtp_task = _done()
        outgoing._RTCRtpSender__rtcp_task = asyncio.ensure_future(_report(sender, receiver))
        outgoing._RTCRtpSender__started = True
        negotiated.append(parameters)

    async def receive(parameters: RTCRtpReceiveParameters) -> None:
        if incoming._RTCRtpReceiver__started:
            return
        receiver.transport._register_rtp_receiver(receiver, parameters)
        incoming._RTCRtpReceiver__rtcp_started.set()
        incoming._RTCRtpReceiver__rtcp_exited.set()
        incoming._RTCRtpReceiver__rtcp_task = _done()
        incoming._RTCRtpReceiver__started = True
        ready(negotiated[-1])

    sender.send = send  # type: ignore[method-assign]
    receiver.receive = receive  # type: ignore[method-assign]


async def _report(sender: RTCRtpSender, receiver: RTCRtpReceiver) -> None:
    """Send a report for both ways whenever one is due; when cancelled, send RTCP BYE."""
    source, inner = ssrc_of(sender), _untyped(sender)
    description = RtcpSdesPacket([RtcpSourceInfo(source, [(_CNAME, inner._RTCRtpSender__cname.encode())])])
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(REPORT_S / 2)
        while True:
            sent = RtcpSenderInfo(
                ntp_timestamp=inner._RTCRtpSender__ntp_timestamp,
                rtp_timestamp=inner._RTCRtpSender__rtp_timestamp,
                packet_count=inner._RTCRtpSender__packet_count,
                octet_count=inner._RTCRtpSender__octet_count,
            )
            await sender._send_rtcp([RtcpSrPacket(source, sent, _receptions(receiver)), description])
            await asyncio.sleep(REPORT_S * (0.5 + random.random()))  # noqa: S311 - spreads reports in time
    await sender._send_rtcp([RtcpByePacket([source])])
    inner._RTCRtpSender__rtcp_exited.set()


def _receptions(receiver: RTCRtpReceiver) -> list[RtcpReceiverInfo]:
    """Report blocks for the streams of `report_reception`, with the delay since the last sender report."""
    inner = _untyped(receiver)
    blocks = []
    for source, stream in inner._RTCRtpReceiver__remote_streams.items():
        came_at = inner._RTCRtpReceiver__lsr_time.get(source)
        blocks.append(
            RtcpReceiverInfo(
                ssrc=source,
                fraction_lost=stream.fraction_lost,
                packets_lost=stream.packets_lost,
                highest_sequence=stream.max_seq,
                jitter=stream.jitter,
                lsr=inner._RTCRtpReceiver__lsr.get(source, 0),
                dlsr=0 if came_at is None else max(0, int((clock.unix_ms() / 1000 - came_at) * 65536)),
            )
        )
    return blocks


def _done() -> asyncio.Future[None]:
    """A completed future, in place of a task that is not needed."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def report_reception(receiver: RTCRtpReceiver, ssrc: int, stream: object) -> None:
    """Base receiver reports on ``stream``'s `fraction_lost`, `packets_lost`, `max_seq` and `jitter`."""
    _untyped(receiver)._RTCRtpReceiver__remote_streams[ssrc] = stream


def report_sending(sender: RTCRtpSender, *, packets: int, octets: int, timestamp: int) -> None:
    """Set the values of the next sender report; ``timestamp`` is the current RTP time."""
    inner = _untyped(sender)
    inner._RTCRtpSender__packet_count = packets
    inner._RTCRtpSender__octet_count = octets
    inner._RTCRtpSender__rtp_timestamp = timestamp
    inner._RTCRtpSender__ntp_timestamp = rtc_clock.current_ntp_time()


def ssrc_of(sender: RTCRtpSender) -> int:
    """The SSRC of ``sender``."""
    return int(sender._ssrc)


def protector(sender: RTCRtpSender) -> Callable[[bytes], bytes]:
    """Return the function that encrypts RTP to SRTP; call it once the transport is connected."""
    protect: Callable[[bytes], bytes] = sender.transport._tx_srtp.protect
    return protect


def tag_bytes(sender: RTCRtpSender) -> int:
    """Bytes that SRTP's authentication tag adds to a packet; call it once the transport is connected."""
    ssl: Any = sender.transport._ssl
    return 16 if ssl.get_selected_srtp_profile().endswith(b"GCM") else 10


def path(sender: RTCRtpSender) -> tuple[asyncio.DatagramTransport, tuple[str, int]] | None:
    """The socket and remote address that ICE nominated; None when the connection is closed."""
    pair = sender.transport.transport._connection._nominated.get(1)
    return (pair.protocol.transport, pair.remote_addr) if pair else None


def _or_loopback(addresses: list[str]) -> list[str]:
    return addresses or ["127.0.0.1"]


def _untyped(owner: object) -> Any:  # noqa: ANN401 - its type does not know what is mangled
    return owner
