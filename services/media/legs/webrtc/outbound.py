"""The outbound pipeline of a leg: in its slot a frame is fetched, encoded, encrypted and sent, in stages.

On a very busy core a packet has two frames of 20 ms if both are buffered, and the next slot is skipped.
"""

import secrets
from collections.abc import Callable
from typing import Protocol

from services.contracts.audio import DOWN_FRAME_BYTES
from services.contracts.endings import EndReason
from services.media import metrics
from services.media.core.rtcp.sending import Sending
from services.media.core.rtp import rtp_packet
from services.media.core.rtp.encoder_complexity import ComplexityControl, EncoderComplexity
from services.media.core.rtp.pacer import MediaClock, is_second
from services.media.legs.webrtc.owner_link import OwnerLink
from services.media.legs.webrtc.wheel import Staged
from services.runtime import clock
from services.runtime.audio.opus import LOWDELAY, EncoderConfig, OpusEncoder


def _nowhere(_: bytes) -> None:
    """Discard packets before `start`."""


class PlayerSchedule(Protocol):
    """The part of the wheel that a sender uses."""

    @property
    def complexity(self) -> ComplexityControl:
        """The encoder complexity of the process, by its load."""

    def add_player(self, player: Staged) -> None:
        """Run the stages of ``player`` every 20 ms. Idempotent."""

    def remove_player(self, player: Staged) -> None:
        """Stop running ``player``. Idempotent."""


class Outbound:
    """One leg's sent stream, pulled from the leg's owner. ``receives_audio``: of the client, as negotiated."""

    def __init__(
        self, payload_type: int, link: OwnerLink, turns: PlayerSchedule, *, receives_audio: bool = True
    ) -> None:
        self.ssrc = secrets.randbits(32)
        self.sending = Sending(self.ssrc)
        self._clock = MediaClock(hz=rtp_packet.CLOCK_HZ, start=secrets.randbits(32))
        self._payload_type = payload_type
        self._link = link
        self._turns = turns
        self._receives_audio = receives_audio
        self._complexity = turns.complexity
        self._effort: EncoderComplexity | None = None  # as set in the encoder
        self._sequence = secrets.randbits(16)
        self._encoder: OpusEncoder | None = None  # made with the first frame: a call without an answer needs none
        self._wanted, self._at_once = LOWDELAY, True
        self._last = b""
        self._protect: Callable[[bytes], bytes] = bytes
        self._send: Callable[[bytes], None] = _nowhere
        self._now = 0.0  # when the current frame was fetched
        self._pcm = self._payload = self._packet = b""
        self._begins = False
        self._started = False
        self._plays = False  # playout is active, or begins with `start`
        self.stages = (self._fetch, self._encode, self._encrypt, self._transmit)

    def start(self, *, protect: Callable[[bytes], bytes], send: Callable[[bytes], None]) -> None:
        """Send from now on: DTLS is up. Playout requested before begins now."""
        self._protect, self._send = protect, send
        self._started = True
        if self._plays and not self._link.closed:
            self._turns.add_player(self)

    def play(self) -> None:
        """Start pulling frames from the owner. Idempotent."""
        if self._receives_audio and not self._plays:
            self._plays = True
            if self._started and not self._link.closed:
                self._turns.add_player(self)

    def use_encoder(self, config: EncoderConfig, *, at_once: bool) -> None:
        """Change the encoder: with the next frame (``at_once``), or in the next pause."""
        self._wanted, self._at_once = config, at_once

    def failed(self) -> None:
        """Close the leg: a stage raised an unexpected error. Called in the except block."""
        self._stop()
        self._link.fail("play", EndReason.INTERNAL)

    def _fetch(self, due: float) -> bool:
        """Pull the frame that is due, unless it was sent with the one before; stops when there is none."""
        if self._clock.lasts(due=due):
            return False
        now = clock.monotonic()
        pcm = self._link.owner.pull(self._frames(due), now=now)
        if pcm is None:
            self._stop()
            return False
        self._now, self._pcm = now, pcm
        return True

    def _stop(self) -> None:
        self._plays = False
        self._turns.remove_player(self)

    def _frames(self, due: float) -> int:
        """How many frames may share a packet: one on a lossy link; half of the legs send in each slot."""
        frames = self._complexity.now.frames
        return frames if frames > 1 and not self._wanted.fec and is_second(due, self.ssrc) else 1

    def _encode(self, due: float) -> bool:
        begins = self._begins = self._clock.stamp_packet(len(self._pcm) // DOWN_FRAME_BYTES, due=due)
        encoder = self._encoder
        if encoder is None or (encoder.config is not self._wanted and (begins or self._at_once)):
            encoder = OpusEncoder(self._wanted)
            if self._encoder is not None and not begins:
                encoder.encode(self._last)  # discarded: an encoder without the previous frame in its state would click
            self._encoder = encoder
            self._effort = None
        effort = self._complexity.now
        if effort is not self._effort:
            encoder.reconfigure(complexity=effort.complexity, bit_rate=effort.bit_rate)
            self._effort = effort
        self._last = self._pcm
        self._payload = encoder.encode(self._pcm)
        return True

    def _encrypt(self, _: float) -> bool:
        sequence = self._sequence
        self._sequence = (sequence + 1) & rtp_packet.SEQUENCE_MASK
        header = rtp_packet.header(self._payload_type, sequence, self._clock.timestamp, self.ssrc, marker=self._begins)
        self._packet = self._protect(header + self._payload)
        return True

    def _transmit(self, due: float) -> bool:
        self._send(self._packet)
        self.sending.packet_sent(len(self._payload), self._clock.timestamp, now=self._now)
        metrics.PACER_LATENESS.observe(max(0.0, clock.monotonic() - due))
        return False
