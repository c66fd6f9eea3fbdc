"""Opus as we send it: 24 kHz mono, encoded in place; aiortc's own path goes through a thread and 48 kHz stereo."""

from fractions import Fraction

import numpy as np
from av import AudioFrame, CodecContext
from av.audio.codeccontext import AudioCodecContext
from av.packet import Packet
from av.stream import Stream

from services.contracts.audio import DOWN_HZ

BIT_RATE = 80_000
"""PESQ 4.19; 64 kbit/s gives 3.76, 32 only 2.72 (measured with this application and complexity)."""
_TIME_BASE = Fraction(1, DOWN_HZ)


class OpusEncoder:
    """One track's encoder; frames may leave gaps."""

    def __init__(self) -> None:
        codec = CodecContext.create("libopus", "w")
        assert isinstance(codec, AudioCodecContext)  # noqa: S101 - narrows for the type checker
        codec.sample_rate = DOWN_HZ
        codec.layout = "mono"
        codec.format = "s16"
        codec.bit_rate = BIT_RATE
        codec.time_base = _TIME_BASE
        codec.options = {"application": "lowdelay", "compression_level": "5", "frame_duration": "20"}
        self._codec = codec

    def encode(self, pcm: bytes, *, timestamp: int) -> "Packet[Stream]":
        """Encode 20 ms of s16le mono 24 kHz that begin at ``timestamp`` samples."""
        frame = AudioFrame.from_ndarray(np.frombuffer(pcm, "<i2").reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = DOWN_HZ
        frame.pts = timestamp
        frame.time_base = _TIME_BASE
        (encoded,) = self._codec.encode(frame)
        packet = Packet(bytes(encoded))
        packet.pts = timestamp  # libopus' own starts below zero
        packet.time_base = _TIME_BASE
        return packet
