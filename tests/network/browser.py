"""A WebRTC peer that sends as a browser would: its Opus follows the answer's fmtp, as libwebrtc's does."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket
from av import AudioCodecContext, AudioFrame, CodecContext
from av.packet import Packet
from av.stream import Stream

from services.callers.audio_sink import AudioSink
from services.callers.speech import Clip, Samples, resampled
from services.runtime import clock

WIRE_HZ = 48_000
FRAME_SAMPLES = 960
FRAME_S = 0.02
_TIME_BASE = Fraction(1, WIRE_HZ)
_DTX_BYTES = 2  # what libopus gives when there is nothing to send
_WIDE_BAND_HZ = 16_000
_BITRATE, _BITRATE_WIDE_BAND = 32_000, 20_000  # libwebrtc's for mono where the answer names none
_COMPLEXITY = 9  # libwebrtc's on a desktop
_MAX_LATE_S = 0.1  # a microphone does not burst


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """Encoder settings that an answer requests: RFC 7587, section 6.1."""

    fec: bool = False
    dtx: bool = False
    max_hz: int = WIRE_HZ
    bitrate: int = _BITRATE


def encoder_settings(sdp: str) -> EncoderSettings:
    """Parse the fmtp of Opus; without one, libwebrtc's defaults."""
    number = re.search(r"^a=rtpmap:(\d+) opus/48000", sdp, re.MULTILINE | re.IGNORECASE)
    line = re.search(rf"^a=fmtp:{number[1]} (.*?)\r?$", sdp, re.MULTILINE) if number else None
    pairs = [part.strip().partition("=") for part in line[1].split(";")] if line else []
    given = {name: int(value) for name, _, value in pairs if value.isdigit()}
    max_hz = given.get("maxplaybackrate", WIRE_HZ)
    return EncoderSettings(
        fec=given.get("useinbandfec") == 1,
        dtx=given.get("usedtx") == 1,
        max_hz=max_hz,
        bitrate=given.get("maxaveragebitrate", _BITRATE_WIDE_BAND if max_hz <= _WIDE_BAND_HZ else _BITRATE),
    )


def encoder(wanted: EncoderSettings, *, loss: float) -> AudioCodecContext:
    """libopus as libwebrtc configures it; ``loss`` is the share that receiver reports would tell it."""
    codec = CodecContext.create("libopus", "w")
    if not isinstance(codec, AudioCodecContext):
        raise TypeError("libopus is no audio codec here")
    codec.sample_rate, codec.layout, codec.format = WIRE_HZ, "mono", "s16"
    codec.bit_rate, codec.time_base = wanted.bitrate, _TIME_BASE
    codec.options = {
        "application": "voip",
        "compression_level": str(_COMPLEXITY),
        "frame_duration": "20",
        "fec": str(int(wanted.fec)),
        "packet_loss": str(round(100 * loss)) if wanted.fec else "0",
        "dtx": str(int(wanted.dtx)),
        # 20 kHz and 8 kHz are libopus' full band and wide band
        "cutoff": "8000" if wanted.max_hz <= _WIDE_BAND_HZ else "20000",
    }
    return codec


class ClipMicrophone(MediaStreamTrack):
    """Sends the clips given to it, else the quiet noise of a room."""

    kind = "audio"

    def __init__(self, *, loss: float) -> None:
        super().__init__()
        self._loss = loss
        self._codec: asyncio.Future[AudioCodecContext] = asyncio.get_running_loop().create_future()
        self._noise = np.random.default_rng(1)
        self._queue: deque[Samples] = deque()
        self._left = np.zeros(0, np.int16)
        self._due_s = 0.0
        self._silent = asyncio.Event()
        self.frames = 0
        """How many frames it has captured, including those that were not sent."""
        self.taken_at: list[float] = []
        """When each of them was captured, in monotonic seconds: its last sample was spoken then."""

    def configure(self, wanted: EncoderSettings) -> None:
        """Start encoding with the answer's settings."""
        self._codec.set_result(encoder(wanted, loss=self._loss))

    def play(self, spoken: Clip) -> None:
        """Play a clip from the next frame on, after any clip that is still playing."""
        self._left = np.concatenate((self._left, resampled(spoken, hz=WIRE_HZ).samples))
        self._silent.clear()

    async def wait_until_silent(self) -> None:
        """Wait until all clips were played."""
        await self._silent.wait()

    async def recv(self) -> "Packet[Stream]":
        """Return the next packet when it is due; during silence with DTX that takes a while."""
        codec = await asyncio.shield(self._codec)
        while True:
            await self._wait_until_due()
            if self.readyState != "live":
                raise MediaStreamError
            for packet in codec.encode(self._next()):
                if packet.size > _DTX_BYTES:
                    packet.pts, packet.time_base = self.frames * FRAME_SAMPLES, _TIME_BASE
                    return packet

    async def _wait_until_due(self) -> None:
        now = clock.monotonic()
        self._due_s = max(self._due_s + FRAME_S, now - _MAX_LATE_S) if self._due_s else now
        await asyncio.sleep(max(0.0, self._due_s - now))

    def _next(self) -> AudioFrame:
        samples = self._noise.integers(-8, 9, FRAME_SAMPLES).astype(np.int16)  # -72 dB: no room is digitally silent
        piece, self._left = self._left[:FRAME_SAMPLES], self._left[FRAME_SAMPLES:]
        samples[: len(piece)] += piece
        if not len(self._left):
            self._silent.set()
        frame = AudioFrame.from_ndarray(samples[np.newaxis, :], layout="mono")
        self.frames += 1
        self.taken_at.append(clock.monotonic())
        frame.sample_rate, frame.pts, frame.time_base = WIRE_HZ, self.frames * FRAME_SAMPLES, _TIME_BASE
        return frame


@dataclass(frozen=True, slots=True)
class ReceivedRtp:
    """An RTP packet: monotonic seconds of its arrival, sequence number and timestamp as they were on the wire."""

    at_s: float
    sequence: int
    timestamp: int
    payload: bytes


@dataclass
class SequenceRecorder(AudioSink):
    """An audio sink that also records sequence numbers, so that loss can be told from silence."""

    rtp: list[ReceivedRtp] = field(default_factory=list)

    def record_packet(self, packet: RtpPacket) -> None:
        """Record a packet that has just arrived."""
        AudioSink.record_packet(self, packet)
        self.rtp.append(ReceivedRtp(clock.monotonic(), packet.sequence_number, packet.timestamp, bytes(packet.payload)))


class BrowserPeer:
    """One peer: a microphone, an audio sink, a data channel."""

    def __init__(self, *, loss: float = 0.0) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.microphone = ClipMicrophone(loss=loss)
        self.audio_sink = SequenceRecorder()
        self.encoder_settings = EncoderSettings()
        self._open = asyncio.Event()
        self.audio_sink.attach(self.peer.addTransceiver(self.microphone, direction="sendrecv").receiver)
        self.channel = self.peer.createDataChannel("oai-events")
        self.channel.on("open", self._open.set)

    async def offer(self) -> str:
        """Return the offer's SDP."""
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return str(self.peer.localDescription.sdp)

    async def accept(self, sdp: str, rewrite: Callable[[str], str]) -> None:
        """Apply the answer and wait until the connection is up."""
        self.encoder_settings = encoder_settings(sdp)
        self.microphone.configure(self.encoder_settings)
        await self.peer.setRemoteDescription(RTCSessionDescription(rewrite(sdp), "answer"))
        await self._open.wait()

    def change_ssrc(self) -> None:
        """Continue with another SSRC, as after a change of the track's encoder."""
        sender = self.peer.getSenders()[0]
        sender._ssrc = (sender._ssrc + 1) % (1 << 32)  # noqa: SLF001 - aiortc has no such wish

    async def close(self) -> None:
        """Close the connection without a hang-up."""
        self.microphone.stop()
        await self.peer.close()
