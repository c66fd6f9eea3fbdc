"""What media sends of one call, read and checked: what cannot be is counted and left, what came before is left."""

import json
from collections import deque

from pydantic import JsonValue

from services.contracts import frame as frames
from services.contracts.audio import UP_FRAME_BYTES
from services.contracts.frame import Flag, Frame, Kind, MalformedFrameError
from services.contracts.ids import Epoch
from services.contracts.messages import MalformedMessageError
from services.runtime import clock
from services.runtime.metrics import BUS_DROPPED, BUS_FRAME_AGE

_MAX_AUDIO_UP_BYTES = 2 * UP_FRAME_BYTES
_REMEMBERED = 1024
"""Frames that are not audio: more than media says again (runtime/delivery.py)."""
_NEVER_RESENT = (Kind.AUDIO_UP, Kind.ALIVE)


class Uplink:
    """One call's frames as they come."""

    def __init__(self, *, epoch: Epoch) -> None:
        self._epoch = epoch
        self._known: deque[int] = deque(maxlen=_REMEMBERED)

    def read(self, data: bytes) -> Frame | None:
        """The frame; None if it is none, of another owner's time, or one that was read before."""
        try:
            frame = frames.decode(data)
        except MalformedFrameError:
            BUS_DROPPED.labels("malformed").inc()
            return None
        if frame.epoch != self._epoch:
            BUS_DROPPED.labels("stale_epoch").inc()
            return None
        BUS_FRAME_AGE.labels("up").observe(max(0, clock.unix_ms() - frame.sent_unix_ms) / 1000)
        if frame.kind not in _NEVER_RESENT:
            key = hash(frames.unflagged(data))
            if Flag.RESENT in frame.flags and key in self._known:
                return None
            self._known.append(key)
        return frame


def audio(pcm: bytes) -> bytes:
    """One or two whole frames.

    Raises:
        MalformedMessageError: it is anything else.
    """
    if not 0 < len(pcm) <= _MAX_AUDIO_UP_BYTES or len(pcm) % UP_FRAME_BYTES:
        raise MalformedMessageError(f"audio of {len(pcm)} bytes")
    return pcm


def parsed(payload: bytes) -> JsonValue:
    """The JSON of a client event; None, which the core refuses, for what is none."""
    try:
        value: JsonValue = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value
