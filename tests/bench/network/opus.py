"""libopus by its own API: concealment and in-band FEC are not in PyAV's. The library is the one in PyAV's wheel."""

import ctypes
from importlib.metadata import files

import numpy as np

from services.callers.speech import Samples

HZ = 48_000
FRAME_SAMPLES = 960
_LONGEST_SAMPLES = 5760  # 120 ms, RFC 6716


class NoOpusError(ImportError):
    """PyAV's wheel holds no libopus."""


def _library() -> ctypes.CDLL:
    for file in files("av") or ():
        if file.name.startswith("libopus-"):
            return ctypes.CDLL(str(file.locate()))
    raise NoOpusError("no libopus in PyAV's wheel: install av from a wheel")


class OpusDecoder:
    """One stream's decoder: 20 ms packets to mono at 48 kHz."""

    def __init__(self) -> None:
        self._opus = _library()
        self._opus.opus_decoder_create.restype = ctypes.c_void_p
        error = ctypes.c_int()
        self._state = ctypes.c_void_p(self._opus.opus_decoder_create(HZ, 1, ctypes.byref(error)))
        if error.value:
            raise NoOpusError(f"libopus error {error.value}")
        self._out = (ctypes.c_int16 * _LONGEST_SAMPLES)()

    def decode(self, packet: bytes) -> Samples:
        """What the packet holds."""
        return self._decode(packet, _LONGEST_SAMPLES, fec=0)

    def has_fec(self, packet: bytes) -> bool:
        """Whether it holds the frame before it, too."""
        return bool(self._opus.opus_packet_has_lbrr(packet, len(packet)) == 1)

    def recover(self, following: bytes) -> Samples:
        """The lost frame in front of ``following``, from what that says of it."""
        return self._decode(following, FRAME_SAMPLES, fec=1)

    def conceal(self) -> Samples:
        """A frame that sounds like what was before it."""
        return self._decode(None, FRAME_SAMPLES, fec=0)

    def close(self) -> None:
        """Free it."""
        self._opus.opus_decoder_destroy(self._state)

    def _decode(self, packet: bytes | None, samples: int, *, fec: int) -> Samples:
        count = self._opus.opus_decode(self._state, packet, len(packet or b""), self._out, samples, fec)
        if count < 0:  # what cannot be decoded was as good as lost
            count = self._opus.opus_decode(self._state, None, 0, self._out, FRAME_SAMPLES, 0)
        return np.array(self._out[:count], dtype=np.int16)
