"""What media sends of one call, read and checked: what cannot be is counted and left."""

import json

from pydantic import JsonValue

from services.contracts import frame as frames
from services.contracts.audio import UP_FRAME_BYTES
from services.contracts.frame import Frame, MalformedFrameError
from services.contracts.ids import Epoch
from services.runtime import clock
from services.runtime.metrics import BUS_DROPPED, BUS_FRAME_AGE

_MAX_AUDIO_UP_BYTES = 2 * UP_FRAME_BYTES


def read(data: bytes, *, epoch: Epoch) -> Frame | None:
    """The frame; None if it is none, or of another owner's time."""
    try:
        frame = frames.decode(data)
    except MalformedFrameError:
        BUS_DROPPED.labels("malformed").inc()
        return None
    if frame.epoch != epoch:
        BUS_DROPPED.labels("stale_epoch").inc()
        return None
    BUS_FRAME_AGE.labels("up").observe(max(0, clock.unix_ms() - frame.sent_unix_ms) / 1000)
    return frame


def is_audio(pcm: bytes) -> bool:
    """Whether it is one or two whole frames."""
    return 0 < len(pcm) <= _MAX_AUDIO_UP_BYTES and len(pcm) % UP_FRAME_BYTES == 0


def parsed(payload: bytes) -> JsonValue:
    """The JSON of a client event; None, which the core refuses, for what is none."""
    try:
        value: JsonValue = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value
