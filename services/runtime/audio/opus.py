"""libopus, called in the calling thread: 20 ms of speech take about 20 µs, without a worker thread or queue.

The library is the one in PyAV's wheel, so nothing has to be built; without PyAV the system's library is loaded.
An object must be used by one thread at a time; different objects may be used by different threads (libopus runs
without the interpreter's lock, and every object has its own buffer).
"""

import functools
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from cffi import FFI

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_HZ, SAMPLE_BYTES, UP_HZ
from services.runtime.errors import HushgateError

MAX_PACKET_MS = 120
"""The longest packet that RFC 6716 allows."""
MAX_PAYLOAD_BYTES = 1275
"""The longest Opus frame that RFC 6716 allows: 20 ms; ours are a fifth of it, for 20 and 40 ms alike."""

Application = Literal["lowdelay", "voip", "audio"]

# From opus_defines.h. They are part of the library's binary interface and never change.
_APPLICATIONS: dict[Application, int] = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
_SET_BIT_RATE = 4002
_SET_COMPLEXITY = 4010
_SET_IN_BAND_FEC = 4012
_SET_PACKET_LOSS = 4014
_SET_DTX = 4016
_RESET = 4028
_BAD_ARGUMENT = -1

_ffi = FFI()
_ffi.cdef("""
    typedef struct OpusDecoder OpusDecoder;
    typedef struct OpusEncoder OpusEncoder;
    OpusDecoder *opus_decoder_create(int32_t hz, int channels, int *error);
    int opus_decode(OpusDecoder *, const char *data, int32_t bytes, int16_t *pcm, int samples, int fec);
    int opus_decoder_ctl(OpusDecoder *, int request, ...);
    void opus_decoder_destroy(OpusDecoder *);
    OpusEncoder *opus_encoder_create(int32_t hz, int channels, int application, int *error);
    int32_t opus_encode(OpusEncoder *, const char *pcm, int samples, char *data, int32_t bytes);
    int opus_encoder_ctl(OpusEncoder *, int request, ...);
    void opus_encoder_destroy(OpusEncoder *);
    const char *opus_strerror(int error);
    const char *opus_get_version_string(void);
""")
_NOTHING = _ffi.NULL
_ENCODED_BYTES = (DOWN_FRAME_BYTES, 2 * DOWN_FRAME_BYTES)


class OpusMissingError(HushgateError):
    """No libopus is installed on this machine."""


class OpusError(HushgateError):
    """libopus rejected its input."""

    def __init__(self, code: int) -> None:
        super().__init__(f"libopus: {_ffi.string(library().opus_strerror(code)).decode()} ({code})")
        self.code = code


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """How to encode 24 kHz mono."""

    application: Application
    bit_rate: int
    complexity: int = 5  # 17/38/57 µs a frame at 0/5/8 with `lowdelay`, 56/130/178 with `voip`
    fec: bool = False  # each packet repeats the frame before it (in-band FEC); only `voip` and `audio` can
    packet_loss_pct: int = 0  # the loss that the redundancy is sized for
    dtx: bool = False


LOWDELAY = EncoderConfig("lowdelay", bit_rate=80_000)
"""For links with little loss. PESQ 4.19; 64 kbit/s gives 3.76, 32 only 2.72."""
VOIP = EncoderConfig("voip", bit_rate=32_000, fec=True, packet_loss_pct=10)
"""For links that lose packets (with FEC). PESQ 3.55 without loss, at three times the CPU time."""


@functools.cache
def library() -> Any:  # noqa: ANN401 - cffi has no types for a library
    """Load libopus once and return the cffi library.

    Raises:
        OpusMissingError: none is installed.
    """
    return open_library(_candidates())


def open_library(paths: Sequence[str]) -> Any:  # noqa: ANN401 - cffi has no types for a library
    """Open the first of ``paths`` as a cffi library.

    Raises:
        OpusMissingError: it cannot be opened, or ``paths`` is empty.
    """
    if not paths:
        raise OpusMissingError("no libopus beside PyAV or on the system: install PyAV's wheel, or libopus0")
    try:
        return _ffi.dlopen(paths[0])
    except OSError as exc:
        raise OpusMissingError(f"{paths[0]} cannot be opened: install PyAV's wheel again, or libopus0") from exc


def version() -> str:
    """The library's own version string."""
    return str(_ffi.string(library().opus_get_version_string()).decode())


def _candidates() -> list[str]:
    """Paths to try, the bundled library first: beside the package on Linux, inside it on macOS."""
    spec = find_spec("av")
    package = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    bundled = [*package.parent.glob("av.libs/libopus-*"), *package.glob(".dylibs/libopus.*")] if spec else []
    system = find_library("opus")
    return [*(str(path) for path in bundled), *([system] if system else [])]


class OpusDecoder:
    """Decoder of one stream: returns s16le mono at ``hz``, whatever rate and channels the stream was encoded with."""

    def __init__(self, hz: int = UP_HZ) -> None:
        opus = library()
        self._capacity = hz * MAX_PACKET_MS // 1000  # samples
        self._pcm = _ffi.new("int16_t[]", self._capacity)
        self._pcm_bytes = _ffi.buffer(self._pcm)
        self._decode: Callable[..., int] = opus.opus_decode
        self._state = _create(opus.opus_decoder_create, opus.opus_decoder_destroy, hz, 1)

    def decode(self, payload: bytes) -> bytes:
        """Decode one packet of 2.5 to 120 ms to s16le mono.

        Raises:
            OpusError: ``payload`` is malformed or empty.
        """
        if not payload:  # libopus would treat that as a lost packet
            raise OpusError(_BAD_ARGUMENT)
        samples = self._decode(self._state, payload, len(payload), self._pcm, self._capacity, 0)
        if samples < 0:
            raise OpusError(samples)
        pcm: bytes = self._pcm_bytes[: samples * SAMPLE_BYTES]
        return pcm

    def recover(self, payload: bytes, samples: int) -> bytes:
        """Return the ``samples`` before ``payload`` from its in-band FEC; concealed when it contains none.

        ``samples``: a multiple of 2.5 ms, at most 120 ms.

        Raises:
            OpusError: ``payload`` is malformed or empty, or ``samples`` out of range.
        """
        if not payload:
            raise OpusError(_BAD_ARGUMENT)
        return self._decode_lost(payload, samples, fec=1)

    def conceal(self, samples: int) -> bytes:
        """Return ``samples`` of packet loss concealment; repeated calls fade out.

        ``samples``: a multiple of 2.5 ms, at most 120 ms.

        Raises:
            OpusError: ``samples`` is out of range.
        """
        return self._decode_lost(_NOTHING, samples, fec=0)

    def reset(self) -> None:
        """Reset the decoder state; call it before the first packet of another stream."""
        library().opus_decoder_ctl(self._state, _RESET)

    def _decode_lost(self, payload: Any, samples: int, *, fec: int) -> bytes:  # noqa: ANN401 - bytes or C's NULL
        if not 0 < samples <= self._capacity:
            raise OpusError(_BAD_ARGUMENT)
        made = self._decode(self._state, payload, len(payload) if fec else 0, self._pcm, samples, fec)
        if made < 0:
            raise OpusError(made)
        pcm: bytes = self._pcm_bytes[: made * SAMPLE_BYTES]
        return pcm


class OpusEncoder:
    """Encoder of one stream: encodes 20 or 40 ms of s16le mono at 24 kHz to one packet. Frames may be skipped."""

    def __init__(self, config: EncoderConfig = LOWDELAY) -> None:
        opus = library()
        self.config = config
        self._data = _ffi.new("char[]", MAX_PAYLOAD_BYTES)
        self._data_bytes = _ffi.buffer(self._data)
        self._encode: Callable[..., int] = opus.opus_encode
        application = _APPLICATIONS[config.application]
        self._state = _create(opus.opus_encoder_create, opus.opus_encoder_destroy, DOWN_HZ, 1, application)
        self._set(_SET_BIT_RATE, config.bit_rate)
        self._set(_SET_COMPLEXITY, config.complexity)
        self._set(_SET_IN_BAND_FEC, int(config.fec))
        self._set(_SET_PACKET_LOSS, config.packet_loss_pct)
        self._set(_SET_DTX, int(config.dtx))

    def encode(self, pcm: bytes) -> bytes:
        """Encode 960 or 1920 bytes of s16le to one Opus packet.

        Raises:
            OpusError: ``pcm`` has another length.
        """
        if len(pcm) not in _ENCODED_BYTES:
            raise OpusError(_BAD_ARGUMENT)
        size = self._encode(self._state, pcm, len(pcm) // SAMPLE_BYTES, self._data, MAX_PAYLOAD_BYTES)
        if size < 0:
            raise OpusError(size)
        payload: bytes = self._data_bytes[:size]
        return payload

    def reconfigure(self, *, complexity: int, bit_rate: int) -> None:
        """Change complexity (0 to 10) and bit rate (at most the config's) from the next frame on.

        Raises:
            OpusError: a value is out of range.
        """
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_BIT_RATE, min(bit_rate, self.config.bit_rate))

    def _set(self, request: int, value: int) -> None:
        if code := library().opus_encoder_ctl(self._state, request, _ffi.cast("int32_t", value)):
            raise OpusError(code)


def _create(create: Callable[..., Any], destroy: Callable[..., None], *arguments: int) -> Any:  # noqa: ANN401 - a C pointer
    """Return the pointer from ``create``; ``destroy`` runs when its last reference is released."""
    code = _ffi.new("int *")
    state = create(*arguments, code)
    if code[0]:
        raise OpusError(code[0])
    return _ffi.gc(state, destroy)
