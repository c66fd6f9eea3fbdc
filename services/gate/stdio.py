"""One stream on standard input and output, for programs that measure the gate."""

import sys
from typing import BinaryIO

from services.contracts.audio import UP_FRAME_BYTES
from services.gate.streams import GatedStreams
from services.media.core.speech.gate import Forward, GateClosed
from services.media.settings import MediaSettings

_OPEN, _CLOSED_NOW = 1, 2


def run(settings: MediaSettings, _: object) -> int:
    """Gate standard input until it ends; return the exit code."""
    try:
        _serve(settings, sys.stdin.buffer, sys.stdout.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        return 1
    return 0


def _serve(settings: MediaSettings, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer each 640 bytes with flags (1: the gate is open, 2: a turn has ended now), a count, and so many frames.

    The count has two bytes, little-endian. Frames of an utterance come in order, each once.
    """
    streams = GatedStreams(settings, 1)
    (gate,) = streams.gates
    while len(pcm := source.read(UP_FRAME_BYTES)) == UP_FRAME_BYTES:
        (gated,) = streams.push([pcm])
        sent = [event.frame.pcm for event in gated.events if isinstance(event, Forward)]
        closed = any(isinstance(event, GateClosed) for event in gated.events)
        flags = _OPEN * gate.is_open | _CLOSED_NOW * closed
        sink.write(bytes((flags,)) + len(sent).to_bytes(2, "little") + b"".join(sent))
        sink.flush()
