"""Received audio of a call: every RTP packet with its arrival time, decoded on demand.

aiortc's jitter buffer and decoder thread are left out: the first would add 80 ms, the second a thread's delay.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import RtpPacket
from av import AudioCodecContext, CodecContext, Packet

from services.callers.aiortc_private import set_packet_handler
from services.callers.errors import WaitTimeoutError
from services.callers.speech import Samples, resample
from services.runtime import clock

_OPUS_HZ = 48_000
_SILENCE_BYTES = 3
"""Opus encodes silence in 1 to 3 bytes, with and without DTX; speech takes more."""
_MAX_GAP_S = 30.0  # a longer jump of RTP time is a restart of the sender's clock, not silence


@dataclass(frozen=True, slots=True)
class ReceivedPacket:
    """One RTP packet. ``timestamp`` is unwrapped RTP time in 1/48000 s, ``at_s`` monotonic seconds of its arrival."""

    at_s: float
    timestamp: int
    payload: bytes

    @property
    def has_sound(self) -> bool:
        """Whether it contains more than silence."""
        return len(self.payload) > _SILENCE_BYTES


@dataclass(slots=True)
class AudioSink:
    """Records the packets of a receiver. Times are packet arrivals; PCM is laid out by RTP time."""

    packets: list[ReceivedPacket] = field(default_factory=list)
    _packet_arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """Record ``receiver`` from its first packet on."""
        set_packet_handler(receiver, self.record_packet)

    def record_packet(self, packet: RtpPacket) -> None:
        """Record a packet that has just arrived."""
        timestamp = packet.timestamp
        if self.packets:
            last = self.packets[-1].timestamp
            timestamp = last + ((packet.timestamp - last + (1 << 31)) % (1 << 32)) - (1 << 31)
        self.packets.append(ReceivedPacket(clock.monotonic(), timestamp, bytes(packet.payload)))
        self._packet_arrived.set()
        self._packet_arrived = asyncio.Event()

    def packets_with_sound(self, *, since_s: float) -> list[ReceivedPacket]:
        """The packets with sound that arrived at ``since_s`` or later."""
        return [packet for packet in self.packets if packet.at_s >= since_s and packet.has_sound]

    async def first_sound(self, *, since_s: float, timeout_s: float) -> ReceivedPacket:
        """Wait for the first packet with sound at or after ``since_s`` and return it.

        Raises:
            WaitTimeoutError: none arrived in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := self.packets_with_sound(since_s=since_s)):
                    await self._packet_arrived.wait()
        except TimeoutError:
            raise WaitTimeoutError("sound", timeout_s) from None
        return found[0]

    async def last_sound(
        self, *, since_s: float, quiet_s: float, timeout_s: float, any_packet: bool = False
    ) -> ReceivedPacket:
        """Wait for a pause of ``quiet_s`` and return the last packet with sound before it, from ``since_s`` on.

        ``any_packet`` counts packets of silence too: for endpoints that send nothing while nothing plays, as Hushgate,
        where a pause between two sentences is no end.

        Raises:
            WaitTimeoutError: no packet at all, or no pause in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (found := self._before_pause(since_s, quiet_s, any_packet=any_packet)) is None:
                    await self._wait_for_packet(quiet_s)
        except TimeoutError:
            raise WaitTimeoutError("end of the sound", timeout_s) from None
        return found

    def pcm(self, *, hz: int, since_s: float = 0.0, until_s: float = float("inf")) -> Samples:
        """Decode the packets that arrived in between, mono at ``hz``; pauses are silence, as long as RTP time says."""
        chosen = [packet for packet in self.packets if since_s <= packet.at_s <= until_s]
        chosen.sort(key=lambda packet: packet.timestamp)
        return resample(_decode(chosen), from_hz=_OPUS_HZ, to_hz=hz)

    def _before_pause(self, since_s: float, quiet_s: float, *, any_packet: bool) -> ReceivedPacket | None:
        found = [packet for packet in self.packets if packet.at_s >= since_s and (any_packet or packet.has_sound)]
        for earlier, later in pairwise(found):
            if later.at_s - earlier.at_s >= quiet_s:
                return earlier
        return found[-1] if found and clock.monotonic() - found[-1].at_s >= quiet_s else None

    async def _wait_for_packet(self, timeout_s: float) -> None:
        news = asyncio.create_task(self._packet_arrived.wait(), name="news")
        await asyncio.wait([news], timeout=timeout_s)
        news.cancel()


def _decoder() -> AudioCodecContext:
    decoder = CodecContext.create("libopus", "r")
    if not isinstance(decoder, AudioCodecContext):
        raise TypeError("libopus is no audio codec here")
    decoder.sample_rate = _OPUS_HZ
    decoder.layout = "mono"
    decoder.format = "s16"
    return decoder


def _decode(packets: list[ReceivedPacket]) -> Samples:
    """Decode in order of RTP time, with silence for timestamps that were not sent."""
    decoder = _decoder()
    pieces: list[Samples] = [np.zeros(0, dtype=np.int16)]
    due = packets[0].timestamp if packets else 0
    for packet in packets:
        gap = packet.timestamp - due
        if 0 < gap <= _MAX_GAP_S * _OPUS_HZ:
            pieces.append(np.zeros(gap, dtype=np.int16))
        decoded = [frame.to_ndarray().reshape(-1).astype(np.int16) for frame in decoder.decode(Packet(packet.payload))]
        pieces.extend(decoded)
        due = packet.timestamp + sum(len(piece) for piece in decoded)
    return np.concatenate(pieces)
