"""The messages on the pipes between the service and its voice processes.

Little-endian: `length u32 · kind u8 · ref u32`, then ``length`` bytes. A process exits when its stdin closes, so it
never outlives the service.
"""

import select
import struct
from dataclasses import dataclass
from enum import IntEnum
from io import RawIOBase

HEADER = struct.Struct("<IBI")
SENTENCE = struct.Struct("<HH")
SCORE = struct.Struct("<d")


class PipeMessageKind(IntEnum):
    """Type of a message. ``ref`` identifies an utterance or a sentence."""

    READY = 0  # up: models are loaded
    FEED = 1  # down, recogniser: more of an utterance, s16le mono 24 kHz
    FINISH = 2  # down, recogniser: the utterance is complete
    DISCARD = 3  # down, recogniser: the utterance is not needed any more
    TEXT = 4  # up, recogniser: log probability f64, then the transcript in UTF-8
    SYNTHESISE = 5  # down, synthesiser: speed in percent u16, length of the voice's name u16, name and text in UTF-8
    SOUND = 6  # up, synthesiser: s16le mono 24 kHz


@dataclass(frozen=True, slots=True)
class PipeMessage:
    """One message."""

    kind: PipeMessageKind
    ref: int = 0
    body: bytes = b""

    def encode(self) -> bytes:
        """Serialise header and body."""
        return HEADER.pack(len(self.body), self.kind, self.ref) + self.body


def receive(pipe: RawIOBase) -> PipeMessage | None:
    """Block until the next message; None at the end."""
    header = _exactly(pipe, HEADER.size)
    if header is None:
        return None
    length, kind, ref = HEADER.unpack(header)
    body = _exactly(pipe, length)
    return None if body is None else PipeMessage(PipeMessageKind(kind), ref, body)


def _exactly(pipe: RawIOBase, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        part = pipe.read(length - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def is_waiting(pipe: RawIOBase) -> bool:
    """Whether a message has begun to arrive; the pipe must be unbuffered."""
    return bool(select.select([pipe], [], [], 0)[0])


def send(pipe: RawIOBase, message: PipeMessage) -> None:
    """Write one message; blocks until it is written."""
    rest = memoryview(message.encode())
    while rest:
        rest = rest[pipe.write(rest) or 0 :]
