"""Sends and receives one call's audio without aiortc's tracks: pre-encoded Opus. 0.4 % of a core instead of 5."""

import asyncio
import random
import struct

from aiortc import RTCPeerConnection, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpSendParameters

from services.callers import aiortc_private
from services.callers.core.reception import FRAME_TICKS, ReceptionStatistics
from services.callers.core.simulated_caller import OutgoingFrame
from services.callers.datagrams import DatagramSocket
from services.callers.load.rtp_payloads import RtpPayloads

_HEADER = struct.Struct("!BBHII")
_HALF = struct.Struct("!H").unpack_from
_PLAIN, _EXTENDED = 0x80, 0x90  # RTP version 2, without and with a header extension
_MARKER = 0x80
_AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_UNKNOWN_TAG_BYTES = 10


class _Reception:
    """Reception values under the names of aiortc's receiver reports."""

    def __init__(self, reception: ReceptionStatistics) -> None:
        self._statistics = reception

    @property
    def fraction_lost(self) -> int:
        return self._statistics.next_fraction_lost()

    @property
    def packets_lost(self) -> int:
        return self._statistics.lost

    @property
    def max_seq(self) -> int:
        return self._statistics.highest_sequence

    @property
    def jitter(self) -> int:
        return self._statistics.jitter


class DirectAudio:
    """Adds the audio section to ``peer``; `opened` is set when packets can be sent both ways."""

    def __init__(self, peer: RTCPeerConnection, reception: ReceptionStatistics, voice: RtpPayloads) -> None:
        transceiver = peer.addTransceiver("audio", direction="sendrecv")
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType.lower() == "audio/opus"])
        self._sender = transceiver.sender
        self._receiver = transceiver.receiver
        self._reception = reception
        self._voice = voice
        self._ssrc = aiortc_private.ssrc_of(self._sender)
        self._heard_ssrc: int | None = None
        self._tag_bytes = _UNKNOWN_TAG_BYTES
        self._first_byte, self._payload_type = _PLAIN, 0
        self._level_id = 0
        self._sequence = random.randrange(1 << 15)  # noqa: S311 - as RFC 3711 requires: low, so that it does not wrap
        self._timestamp = self._origin = random.getrandbits(31)
        self._path: tuple[DatagramSocket, tuple[str, int]] | None = None
        self._octets = 0
        self.packets = 0
        """Packets sent so far."""
        self.opened = asyncio.Event()
        aiortc_private.own_sockets(self._sender, self._arrived)
        aiortc_private.rtcp_only(self._sender, self._receiver, ready=self._ready)

    def send_frame(self, sound: OutgoingFrame | None, frame: int) -> bool:
        """Send ``sound`` as frame number ``frame``, None sends nothing; returns whether the socket accepted it."""
        self._timestamp = (self._origin + frame * FRAME_TICKS) & 0xFFFFFFFF
        if sound is None or self._path is None:
            return True
        body = self._voice.body(sound, self._level_id)
        kind = self._payload_type | _MARKER if sound.first else self._payload_type
        header = _HEADER.pack(self._first_byte, kind, self._sequence, self._timestamp, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self.packets += 1
        self._octets += len(body)
        socket, address = self._path
        return socket.send_audio(self._protect(header + body), address)

    def report(self) -> None:
        """Update the values of the sender reports; call it about once a second."""
        aiortc_private.report_sending(
            self._sender, packets=self.packets, octets=self._octets, timestamp=self._timestamp
        )

    def close(self) -> None:
        """Stop sending."""
        self._path = None

    def _ready(self, parameters: RTCRtpSendParameters) -> None:
        self._payload_type = parameters.codecs[0].payloadType or 0
        self._level_id = next((e.id or 0 for e in parameters.headerExtensions if e.uri == _AUDIO_LEVEL), 0)
        self._first_byte = _EXTENDED if self._level_id else _PLAIN
        self._protect = aiortc_private.protector(self._sender)
        self._tag_bytes = aiortc_private.tag_bytes(self._sender)
        found = aiortc_private.path(self._sender)
        if found and isinstance(found[0], DatagramSocket):
            self._path = (found[0], found[1])
            self.report()
            self.opened.set()

    def _arrived(self, packet: bytes, at_s: float) -> None:
        first, _, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
        header = _HEADER.size + 4 * (first & 0x0F)
        if first & 0x10:
            header += 4 + 4 * _HALF(packet, header + 2)[0]
        if ssrc != self._heard_ssrc:
            self._heard_ssrc = ssrc
            aiortc_private.report_reception(self._receiver, ssrc, _Reception(self._reception))
        self._reception.packet_received(ssrc, sequence, timestamp, len(packet) - header - self._tag_bytes, at_s)
