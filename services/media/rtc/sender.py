"""What a leg sends: a frame is fetched when it has its turn, encoded, encrypted and sent, in stages of the wheel.

On a very busy core a packet has two frames of 20 ms where so much is in hand, and the next turn is left out.
"""

import secrets
from collections.abc import Callable

from services.contracts.audio import DOWN_FRAME_BYTES
from services.media import metrics
from services.media.core import rtp
from services.media.core.effort import Effort, Efforts
from services.media.core.pacer import MediaClock, is_second
from services.media.core.sending import Sending
from services.runtime import clock
from services.runtime.opus import LOWDELAY, EncoderConfig, OpusEncoder


def _nowhere(_: bytes) -> None:
    """Before the way is open nothing is sent."""


class Sender:
    """One leg's stream. ``pull`` gives up to so many times 20 ms of s16le mono at 24 kHz, or None: nothing to play."""

    def __init__(
        self,
        payload_type: int,
        *,
        pull: Callable[[int, float], bytes | None],
        rest: Callable[[], None],
        failed: Callable[[], None],
        efforts: Efforts,
    ) -> None:
        self.ssrc = secrets.randbits(32)
        self.sending = Sending(self.ssrc)
        self._clock = MediaClock(hz=rtp.CLOCK_HZ, start=secrets.randbits(32))
        self._payload_type = payload_type
        self._pull = pull
        self._rest = rest
        self._failed = failed
        self._efforts = efforts
        self._effort: Effort | None = None  # what the encoder was told
        self._sequence = secrets.randbits(16)
        self._encoder: OpusEncoder | None = None  # a call that is never answered needs none
        self._wanted, self._at_once = LOWDELAY, True
        self._last = b""
        self._protect: Callable[[bytes], bytes] = bytes
        self._send: Callable[[bytes], None] = _nowhere
        self._now = 0.0  # when the frame that is on its way was fetched
        self._pcm = self._payload = self._packet = b""
        self._begins = False
        self.started = False
        self.stages = (self._fetch, self._encode, self._encrypt, self._transmit)

    def start(self, *, protect: Callable[[bytes], bytes], send: Callable[[bytes], None]) -> None:
        """The way to the client is open."""
        self._protect, self._send = protect, send
        self.started = True

    def encode_by(self, config: EncoderConfig, *, at_once: bool) -> None:
        """Use another encoder: for the next frame, or from the next pause on."""
        self._wanted, self._at_once = config, at_once

    def broke(self) -> None:
        """A stage failed with an error that nobody expected: it is being handled now."""
        self._rest()
        self._failed()

    def _fetch(self, due: float) -> bool:
        """Get the frame that is due, if it was not sent with the one before; rests when there is none."""
        if self._clock.lasts(due=due):
            return False
        now = clock.monotonic()
        pcm = self._pull(self._frames(due), now)
        if pcm is None or not self.started:
            self._rest()
            return False
        self._now, self._pcm = now, pcm
        return True

    def _frames(self, due: float) -> int:
        """How many may share a packet: one where packets are lost; half of the legs send while the others do not."""
        frames = self._efforts.now.frames
        return frames if frames > 1 and not self._wanted.fec and is_second(due, self.ssrc) else 1

    def _encode(self, due: float) -> bool:
        begins = self._begins = self._clock.take(len(self._pcm) // DOWN_FRAME_BYTES, due=due)
        encoder = self._encoder
        if encoder is None or (encoder.config is not self._wanted and (begins or self._at_once)):
            encoder = OpusEncoder(self._wanted)
            if self._encoder is not None and not begins:
                encoder.encode(self._last)  # thrown away: an encoder that knows nothing of the frame before would click
            self._encoder = encoder
            self._effort = None
        effort = self._efforts.now
        if effort is not self._effort:
            encoder.spend(complexity=effort.complexity, bit_rate=effort.bit_rate)
            self._effort = effort
        self._last = self._pcm
        self._payload = encoder.encode(self._pcm)
        return True

    def _encrypt(self, _: float) -> bool:
        sequence = self._sequence
        self._sequence = (sequence + 1) & rtp.SEQUENCE_MASK
        header = rtp.header(self._payload_type, sequence, self._clock.timestamp, self.ssrc, marker=self._begins)
        self._packet = self._protect(header + self._payload)
        return True

    def _transmit(self, due: float) -> bool:
        self._send(self._packet)
        self.sending.push(len(self._payload), self._clock.timestamp, now=self._now)
        metrics.PACER_LATENESS.observe(max(0.0, clock.monotonic() - due))
        return False
