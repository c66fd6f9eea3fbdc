"""Turns the authenticated RTP packets of a leg into a gapless sequence of 20 ms frames at 16 kHz."""

from collections.abc import Callable
from typing import Protocol

from services.contracts.audio import UP_HZ, PcmFrame
from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core.rtcp.reception import Reception
from services.media.core.rtp import opus_toc, rtp_packet
from services.media.core.rtp.framer import Framer
from services.media.core.rtp.jitter_buffer import (
    FRAME,
    Conceal,
    Decode,
    DecodeStep,
    JitterBuffer,
    Realign,
    Recover,
    Silence,
)
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.wheel import Staged
from services.runtime.audio.opus import OpusDecoder, OpusError

_FACTOR = rtp_packet.CLOCK_HZ // UP_HZ


class ReceiverSchedule(Protocol):
    """The part of the wheel that a receiver uses."""

    def add_receiver(self, receiver: Staged) -> None:
        """Run the stages of ``receiver`` once, when all datagrams of the slot are read."""


class Receiver:
    """One leg's received audio: orders, decodes and delivers it to the leg's owner in stages of the wheel.

    The counts only rise; `export` adds them to the metrics, so that no packet has to.
    """

    def __init__(self, payload_type: int, link: OwnerLink, turns: ReceiverSchedule) -> None:
        self._payload_type = payload_type
        self._link = link
        self._turns = turns
        self._packets: list[bytes] = []
        self._steps: list[DecodeStep] = []
        self.frames: list[PcmFrame] = []
        self.stages = (self.order, self.decode, self.hand_up)
        self._jitter = JitterBuffer()
        self._decoder = OpusDecoder()
        self._framer = Framer()
        self._exported: dict[str, float] = {}
        self.reception: Reception | None = None  # of the current stream; None before its first packet
        self.packets = 0
        self.malformed = 0
        self.wrong_payload_type = 0
        self.too_fast_frames = 0
        self.recovered_samples = 0  # these at 48 kHz
        self.concealed_samples = 0
        self.silenced_samples = 0
        self.dtx_samples = 0

    @property
    def due(self) -> float | None:
        """When `on_timer` must be called, or None: not before the next packet."""
        return self._jitter.due

    def queue_packet(self, packet: bytes) -> None:
        """Queue an authenticated RTP packet; it is processed in this slot of the wheel."""
        if not self._packets:
            self._turns.add_receiver(self)
        self._packets.append(packet)

    def on_timer(self, *, now: float) -> None:
        """Give up packets that are missing for too long, and fill in silence that the peer does not send (DTX)."""
        self._steps = self._jitter.on_timer(now=now)
        self.decode(now)

    # --- stages ---

    def order(self, now: float) -> bool:
        """Order the packets of a slot by the jitter buffer, and count them for our reports."""
        packets, self._packets = self._packets, []
        self._steps = []
        for data in packets:
            packet = rtp_packet.parse(data)
            if packet is None:
                self.malformed += 1
            elif packet.payload_type != self._payload_type:
                self.wrong_payload_type += 1
            else:
                self.packets += 1
                self._steps += self._jitter.insert(packet, now=now)
                if packet.ssrc == self._jitter.ssrc:
                    if self.reception is None or self.reception.ssrc != packet.ssrc:
                        self.reception = Reception(packet.ssrc)
                    self.reception.packet_received(packet.sequence, packet.timestamp, now=now)
        return bool(self._steps)

    def decode(self, now: float) -> bool:
        """Decode what the jitter buffer released to `frames`."""
        frames: list[PcmFrame] = []
        self.frames = frames
        for step in self._steps:
            if isinstance(step, Decode):
                frames += self._decode(step.payload, now)
            elif isinstance(step, (Recover, Conceal, Silence)):
                frames += self._fill(step, now)
            elif isinstance(step, Realign):
                self._framer.realign(now=now)
            else:
                self._decoder.reset()
        return bool(frames)

    def hand_up(self, now: float) -> bool:
        """Deliver `frames` to the leg's owner."""
        for frame in self.frames:
            self._link.owner.on_leg_input(frame, now=now)
        return False

    def failed(self) -> None:
        """Close the leg: a stage raised an unexpected error. Called in the except block."""
        self._packets.clear()
        self._link.fail("receive", EndReason.INTERNAL)

    def export(self) -> None:
        """Add the counts since the last call to the metrics."""
        for name, total in self._totals().items():
            if grown := total - self._exported.get(name, 0):
                _EXPORTS[name](grown)
                self._exported[name] = total
        if self.reception is not None:
            metrics.JITTER.observe(self.reception.jitter_s)

    def _decode(self, payload: bytes, now: float) -> list[PcmFrame]:
        if self._framer.room(now=now) <= 0:  # not decoded: a flood must cost as little as possible
            self.too_fast_frames += opus_toc.duration(payload) // FRAME
            return []
        try:
            return self._framer.append_audio(self._decoder.decode(payload))
        except OpusError:
            self.malformed += 1
            return self._framer.silence(opus_toc.duration(payload) // _FACTOR)

    def _fill(self, step: Recover | Conceal | Silence, now: float) -> list[PcmFrame]:
        samples = step.samples
        if samples > self._framer.room(now=now) * FRAME:
            self.too_fast_frames += samples // FRAME
            return []
        match step:
            case Recover():
                return self._recover(step)
            case Conceal():
                self.concealed_samples += samples
                return self._framer.append_audio(self._decoder.conceal(samples // _FACTOR))
            case _:
                if step.lost:
                    self.silenced_samples += samples
                else:
                    self.dtx_samples += samples
                return self._framer.silence(samples // _FACTOR)

    def _recover(self, step: Recover) -> list[PcmFrame]:
        try:
            pcm = self._decoder.recover(step.payload, step.samples // _FACTOR)
        except OpusError:  # the packet itself is decoded next, and its error counted there
            return self._framer.silence(step.samples // _FACTOR)
        self.recovered_samples += step.samples
        return self._framer.append_audio(pcm)

    def _totals(self) -> dict[str, float]:
        jitter = self._jitter
        return {
            "packets": self.packets,
            "lost": jitter.lost,
            "restarts": jitter.restarts,
            "late_packet": jitter.late,
            "duplicate_packet": jitter.duplicate,
            "stray_packet": jitter.stray,
            "malformed_packet": self.malformed,
            "wrong_payload_type": self.wrong_payload_type,
            "audio_too_fast": self.too_fast_frames,
            "fec": self.recovered_samples / rtp_packet.CLOCK_HZ,
            "plc": self.concealed_samples / rtp_packet.CLOCK_HZ,
            "silence": self.silenced_samples / rtp_packet.CLOCK_HZ,
            "dtx": self.dtx_samples / rtp_packet.CLOCK_HZ,
        }


_DROPS = ("late_packet", "duplicate_packet", "stray_packet", "malformed_packet", "wrong_payload_type", "audio_too_fast")
_EXPORTS: dict[str, Callable[[float], None]] = {
    "packets": metrics.PACKETS.labels("up").inc,
    "lost": metrics.PACKETS_LOST.inc,
    "restarts": metrics.STREAM_RESTARTS.inc,
    "dtx": metrics.DTX_SECONDS.inc,
    **{how: metrics.CONCEALED_SECONDS.labels(how).inc for how in ("fec", "plc", "silence")},
    **{reason: metrics.INPUT_DROPPED.labels(reason).inc for reason in _DROPS},
}
