"""Reads the TOC of Opus packets (RFC 6716 §3). Durations are in samples at 48 kHz."""

_STEP = 120
"""2.5 ms: Opus conceals multiples of it."""
_FRAME = 960
_MAX_PACKET = 5760
_MAX_DTX_BYTES = 2  # a TOC byte alone, as libopus and libwebrtc define it
_FIRST_CELT = 16
_SILK_MS = (10, 20, 40, 60)
_HYBRID_MS = (10, 20)
_CELT_MS = (2.5, 5, 10, 20)
_FRAME_SAMPLES = tuple(int(ms * 48) for ms in _SILK_MS * 3 + _HYBRID_MS * 2 + _CELT_MS * 4)
"""By configuration, the first five bits."""
_COUNTED = 3  # the last two bits: 0 one frame, 1 and 2 two, 3 as many as the next byte says
_PACKET_SAMPLES = tuple(
    0 if toc & 3 == _COUNTED else _FRAME_SAMPLES[toc >> 3] * (1 if toc & 3 == 0 else 2) for toc in range(256)
)


def duration(payload: bytes) -> int:
    """Return the duration of a packet; 0: empty or malformed."""
    if not payload:
        return 0
    toc = payload[0]
    if toc & 3 != _COUNTED:
        return _PACKET_SAMPLES[toc]
    if len(payload) == 1:
        return 0
    samples = _FRAME_SAMPLES[toc >> 3] * (payload[1] & 0x3F)
    return samples if samples <= _MAX_PACKET else 0


def is_dtx(payload: bytes) -> bool:
    """Whether a packet is DTX: the talker is silent, and the sender may send nothing for a while."""
    return len(payload) <= _MAX_DTX_BYTES


def has_fec(payload: bytes) -> bool:
    """Whether a packet has in-band FEC of the frame before it; False for packets of several frames."""
    if len(payload) <= _MAX_DTX_BYTES:
        return False
    toc, first = payload[0], payload[1]
    if toc & 3 or toc >> 3 >= _FIRST_CELT:
        return False
    inner = max(1, _FRAME_SAMPLES[toc >> 3] // _FRAME)  # SILK codes 20 ms at a time: a flag for each, then this one
    mid = first >> (7 - inner) & 1
    side = first >> (6 - 2 * inner) & 1 if toc & 4 else 0
    return bool(mid | side)


def whole_steps(samples: int) -> int:
    """Return ``samples`` rounded down to a multiple of 2.5 ms, which Opus can conceal."""
    return samples - samples % _STEP
