"""Builds SCTP packets byte by byte, also invalid ones."""

import struct
from collections.abc import Sequence

from google_crc32c import value as crc32c

LAST, FIRST, UNORDERED = 0x01, 0x02, 0x04
STRING = 51


def chunk(kind: int, body: bytes = b"", *, flags: int = 0, length: int | None = None) -> bytes:
    """A chunk; ``length`` lies about its size."""
    return struct.pack("!BBH", kind, flags, 4 + len(body) if length is None else length) + body + bytes(-len(body) % 4)


def packet(*chunks: bytes, tag: int = 0) -> bytes:
    """A packet with a right checksum."""
    header, body = struct.pack("!HHL", 5000, 5000, tag), b"".join(chunks)
    return header + struct.pack("<L", crc32c(header + bytes(4) + body)) + body


def data(
    tsn: int,
    content: bytes = b"x",
    *,
    flags: int = FIRST | LAST,
    stream: int = 0,
    sequence: int = 0,
    kind: int = STRING,
) -> bytes:
    """A DATA chunk."""
    return chunk(0, struct.pack("!LHHL", tsn & 0xFFFFFFFF, stream, sequence & 0xFFFF, kind) + content, flags=flags)


def sack(cumulative: int, gaps: Sequence[tuple[int, int]] = (), duplicates: Sequence[int] = ()) -> bytes:
    """A SACK chunk."""
    body = struct.pack("!LLHH", cumulative & 0xFFFFFFFF, 100_000, len(gaps), len(duplicates))
    blocks = b"".join(struct.pack("!HH", *gap) for gap in gaps)
    return chunk(3, body + blocks + b"".join(struct.pack("!L", tsn) for tsn in duplicates))


def forward(tsn: int, streams: Sequence[int] = ()) -> bytes:
    """A FORWARD-TSN chunk."""
    pairs = b"".join(struct.pack("!HH", stream, 1) for stream in streams)
    return chunk(192, struct.pack("!L", tsn & 0xFFFFFFFF) + pairs)


def parameter(kind: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """A parameter; ``length`` lies about its size."""
    return struct.pack("!HH", kind, 4 + len(value) if length is None else length) + value + bytes(-len(value) % 4)


def init(tsn: int = 1, parameters: bytes = b"", *, kind: int = 1) -> bytes:
    """An INIT chunk, or an INIT ACK."""
    return chunk(kind, struct.pack("!LLHHL", 7, 100_000, 10, 10, tsn & 0xFFFFFFFF) + parameters)


def reset(sequence: int, streams: Sequence[int] = (), *, last_tsn: int = 0) -> bytes:
    """A parameter of RE-CONFIG: reset streams."""
    ids = b"".join(struct.pack("!H", stream) for stream in streams)
    return parameter(13, struct.pack("!LLL", sequence & 0xFFFFFFFF, 0, last_tsn & 0xFFFFFFFF) + ids)
