"""What the service and its voice processes write to each other's pipes.

Little-endian: `length u32 · kind u8 · ref u32`, then ``length`` bytes. A process ends when its stdin does, so it never
outlives the service.
"""

import select
import struct
from dataclasses import dataclass
from enum import IntEnum
from io import RawIOBase

HEADER = struct.Struct("<IBI")


class Kind(IntEnum):
    """What a message means. ``ref`` names an utterance or a sentence."""

    READY = 0  # up: warmed up
    FEED = 1  # down, ear: more of an utterance, s16le mono 24 kHz
    FINISH = 2  # down, ear: the utterance is complete
    FORGET = 3  # down, ear: the utterance is not wanted any more
    TEXT = 4  # up, ear: what was understood, UTF-8
    SAY = 5  # down, mouth: speed in percent u16, then text in UTF-8
    SOUND = 6  # up, mouth: s16le mono 24 kHz


@dataclass(frozen=True, slots=True)
class PipeMessage:
    """One message."""

    kind: Kind
    ref: int = 0
    body: bytes = b""

    def encode(self) -> bytes:
        """Header and body."""
        return HEADER.pack(len(self.body), self.kind, self.ref) + self.body


def receive(pipe: RawIOBase) -> PipeMessage | None:
    """Wait for the next message; None at the end."""
    header = _exactly(pipe, HEADER.size)
    if header is None:
        return None
    length, kind, ref = HEADER.unpack(header)
    body = _exactly(pipe, length)
    return None if body is None else PipeMessage(Kind(kind), ref, body)


def _exactly(pipe: RawIOBase, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        part = pipe.read(length - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def is_waiting(pipe: RawIOBase) -> bool:
    """Whether a message has begun to arrive; the pipe must have no buffer of its own."""
    return bool(select.select([pipe], [], [], 0)[0])


def send(pipe: RawIOBase, message: PipeMessage) -> None:
    """Write one message now."""
    rest = memoryview(message.encode())
    while rest:
        rest = rest[pipe.write(rest) or 0 :]
