"""What a browser's decoder does: 20 ms packets to mono at 48 kHz, with in-band FEC and concealment."""

import numpy as np

from services.callers.speech import Samples
from services.media.core.rtp import opus_toc
from services.runtime.audio import opus

HZ = 48_000
FRAME_SAMPLES = 960


class StreamDecoder:
    """One stream's decoder. What cannot be decoded was as good as lost."""

    def __init__(self) -> None:
        self._decoder = opus.OpusDecoder(HZ)

    def decode(self, packet: bytes) -> Samples:
        """What the packet holds."""
        try:
            return np.frombuffer(self._decoder.decode(packet), np.int16)
        except opus.OpusError:
            return self.conceal()

    def has_fec(self, packet: bytes) -> bool:
        """Whether it holds the frame before it, too."""
        return opus_toc.has_fec(packet)

    def recover(self, following: bytes) -> Samples:
        """The lost frame in front of ``following``, from what that says of it."""
        try:
            return np.frombuffer(self._decoder.recover(following, FRAME_SAMPLES), np.int16)
        except opus.OpusError:
            return self.conceal()

    def conceal(self) -> Samples:
        """A frame that sounds like what was before it."""
        return np.frombuffer(self._decoder.conceal(FRAME_SAMPLES), np.int16)
