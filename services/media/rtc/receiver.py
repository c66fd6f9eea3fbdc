"""What a WebRTC leg hears: authenticated RTP packets become an unbroken run of 20 ms at 16 kHz."""

from collections.abc import Callable

from services.contracts.audio import UP_HZ, PcmFrame
from services.media import metrics
from services.media.core import rtp, toc
from services.media.core.framer import Framer
from services.media.core.jitter import (
    FRAME,
    Conceal,
    Decode,
    Heard,
    JitterBuffer,
    Realign,
    Recover,
    Silence,
)
from services.media.core.reception import Reception
from services.runtime.opus import OpusDecoder, OpusError

_FACTOR = rtp.CLOCK_HZ // UP_HZ


class Receiver:
    """One leg's ear. The counts only rise; `export` hands them to the metrics, so that no packet has to."""

    def __init__(self, payload_type: int) -> None:
        self._payload_type = payload_type
        self._jitter = JitterBuffer()
        self._decoder = OpusDecoder()
        self._framer = Framer()
        self._exported: dict[str, float] = {}
        self.reception: Reception | None = None  # of the stream that is heard; none came yet
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
        """When `tick` has something to do, or None: not before the next packet."""
        return self._jitter.due

    def push(self, data: bytes, *, now: float) -> list[Heard]:
        """Take a packet that SRTP has let pass; returns what is to be heard now."""
        packet = rtp.parse(data)
        if packet is None:
            self.malformed += 1
            return []
        if packet.payload_type != self._payload_type:
            self.wrong_payload_type += 1
            return []
        self.packets += 1
        steps = self._jitter.push(packet, now=now)
        if packet.ssrc == self._jitter.ssrc:
            self._report(packet, now)
        return steps

    def hear(self, steps: list[Heard], *, now: float) -> list[PcmFrame]:
        """Decode what is to be heard."""
        frames: list[PcmFrame] = []
        for step in steps:
            if isinstance(step, Decode):
                frames += self._decode(step.payload, now)
            elif isinstance(step, (Recover, Conceal, Silence)):
                frames += self._fill(step, now)
            elif isinstance(step, Realign):
                self._framer.realign(now=now)
            else:
                self._decoder.reset()
        return frames

    def tick(self, *, now: float) -> list[PcmFrame]:
        """Time passes: what waited for too long is given up, and silence that the peer does not send is filled in."""
        return self.hear(self._jitter.tick(now=now), now=now)

    def export(self) -> None:
        """Add what was counted since the last time to the metrics."""
        for name, total in self._totals().items():
            if grown := total - self._exported.get(name, 0):
                _EXPORTS[name](grown)
                self._exported[name] = total
        if self.reception is not None:
            metrics.JITTER.observe(self.reception.jitter_s)

    def _report(self, packet: rtp.RtpPacket, now: float) -> None:
        if self.reception is None or self.reception.ssrc != packet.ssrc:
            self.reception = Reception(packet.ssrc)
        self.reception.push(packet.sequence, packet.timestamp, now=now)

    def _decode(self, payload: bytes, now: float) -> list[PcmFrame]:
        if self._framer.room(now=now) <= 0:  # not even decoded: a flood must not cost more than it has to
            self.too_fast_frames += toc.duration(payload) // FRAME
            return []
        try:
            return self._framer.push(self._decoder.decode(payload))
        except OpusError:
            self.malformed += 1
            return self._framer.silence(toc.duration(payload) // _FACTOR)

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
                return self._framer.push(self._decoder.conceal(samples // _FACTOR))
            case _:
                if step.lost:
                    self.silenced_samples += samples
                else:
                    self.dtx_samples += samples
                return self._framer.silence(samples // _FACTOR)

    def _recover(self, step: Recover) -> list[PcmFrame]:
        try:
            pcm = self._decoder.recover(step.payload, step.samples // _FACTOR)
        except OpusError:  # the packet itself comes next, and is counted there
            return self._framer.silence(step.samples // _FACTOR)
        self.recovered_samples += step.samples
        return self._framer.push(pcm)

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
            "fec": self.recovered_samples / rtp.CLOCK_HZ,
            "plc": self.concealed_samples / rtp.CLOCK_HZ,
            "silence": self.silenced_samples / rtp.CLOCK_HZ,
            "dtx": self.dtx_samples / rtp.CLOCK_HZ,
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
