"""What a leg sends: pulls 20 ms when it has its turn, encodes, encrypts and sends it, all in place."""

import secrets
from collections.abc import Callable

from services.media import metrics
from services.media.core import rtp
from services.media.core.effort import Effort
from services.media.core.pacer import MediaClock
from services.media.core.sending import Sending
from services.runtime import clock
from services.runtime.opus import LOWDELAY, EncoderConfig, OpusEncoder


class Sender:
    """One leg's stream. ``pull`` gives 20 ms of s16le mono at 24 kHz, or None when there is nothing to play."""

    def __init__(
        self, payload_type: int, *, pull: Callable[[float], bytes | None], rest: Callable[[], None], effort: Effort
    ) -> None:
        self.ssrc = secrets.randbits(32)
        self.sending = Sending(self.ssrc)
        self._clock = MediaClock(hz=rtp.CLOCK_HZ, start=secrets.randbits(32))
        self._payload_type = payload_type
        self._pull = pull
        self._rest = rest
        self._effort = effort
        self._sequence = secrets.randbits(16)
        self._encoder: OpusEncoder | None = None  # a call that is never answered needs none
        self._wanted, self._at_once = LOWDELAY, True
        self._last = b""
        self._protect: Callable[[bytes], bytes] | None = None
        self._send: Callable[[bytes], None] | None = None

    def start(self, *, protect: Callable[[bytes], bytes], send: Callable[[bytes], None]) -> None:
        """The way to the client is open."""
        self._protect, self._send = protect, send

    @property
    def started(self) -> bool:
        """Whether frames can be sent."""
        return self._send is not None

    def encode_by(self, config: EncoderConfig, *, at_once: bool) -> None:
        """Use another encoder: for the next frame, or from the next pause on."""
        self._wanted, self._at_once = config, at_once

    def play_frame(self, *, due: float) -> None:
        """Send the frame that is due, or rest."""
        now = clock.monotonic()
        pcm = self._pull(now)
        if pcm is None or self._protect is None or self._send is None:
            self._rest()
            return
        begins = self._clock.take(due=due)
        payload = self._encode(pcm, begins=begins)
        timestamp = self._clock.timestamp
        header = rtp.header(self._payload_type, self._sequence, timestamp, self.ssrc, marker=begins)
        self._send(self._protect(header + payload))
        self._sequence = (self._sequence + 1) & rtp.SEQUENCE_MASK
        self.sending.push(len(payload), timestamp, now=now)
        metrics.PACER_LATENESS.observe(max(0.0, clock.monotonic() - due))

    def _encode(self, pcm: bytes, *, begins: bool) -> bytes:
        encoder = self._encoder
        if encoder is None or (encoder.config is not self._wanted and (begins or self._at_once)):
            encoder = OpusEncoder(self._wanted)
            if self._encoder is not None and not begins:
                encoder.encode(self._last)  # thrown away: an encoder that knows nothing of the frame before would click
            self._encoder = encoder
        if encoder.complexity != self._effort.complexity:
            encoder.try_as_hard_as(self._effort.complexity)
        self._last = pcm
        return encoder.encode(pcm)
