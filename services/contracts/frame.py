"""The bus frame: one ordered stream per call and direction carries audio and everything ordered relative to it.

Little-endian header, then the item id, then the payload:
`version u8 · kind u8 · flags u16 · epoch u64 · position u64 · sent_unix_ms u64 · item_len u8 · item_id · payload`.
Golden bytes are in tests/contracts/test_frame.py.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from services.contracts.ids import Epoch, ItemId

VERSION = 1
MAX_AUDIO_DOWN_BYTES = 16 * 1024
MAX_FRAME_BYTES = 256 * 1024
"""Half of the server's `max_payload`; no frame comes near."""

_HEADER = struct.Struct("<BBHQQQB")
_SEQUENCE = struct.Struct("<Q")


class Kind(IntEnum):
    """The type of a frame. ``position`` counts caller frames (up) or samples of the item (down, reports)."""

    AUDIO_UP = 1  # up; position: frame index; 1 or 2 frames of 20 ms at 16 kHz; outside utterances only in push to talk
    UTTERANCE_START = 2  # up; position: index of the first frame sent; payload: messages.UtteranceStart
    UTTERANCE_END = 3  # up; position: index after the last frame sent; payload: messages.UtteranceEnd
    CLIENT_EVENT = 4  # up; position: cost of the call's client events so far; payload: JSON, or a piece of it
    PLAYOUT_REPORT = 5  # up; position: samples of the item played; payload: messages.PlayoutReport
    AUDIO_DOWN = 6  # down; position: sample within the item; s16le mono 24 kHz, at most 16 KiB
    SERVER_EVENT = 7  # down; released after the position in the item, at once without one; payload: sequence u64, JSON
    ALIVE = 8  # both; after 1 s of nothing else, and at once when media has learned its worker
    CLEAR = 9  # down; stop the playout of the item now; media replies with a PLAYOUT_REPORT that is cut
    ENDED = 10  # both; the call is over; payload: messages.Ended
    TURN_DETECTION = 11  # down; position: number of the change; payload: messages.TurnDetection
    CLIENT_CREDIT = 12  # down; position: that of the last CLIENT_EVENT which the worker has handled; no payload
    EAGER_END = 13  # up; position: index after the last frame sent; payload: messages.EagerEnd
    TURN_RESUMED = 14  # up; the turn of the last EAGER_END goes on; position: index of the next frame; no payload


class Flag(IntFlag):
    """Bits of the header's ``flags``; unknown bits are ignored."""

    PRE_ROLL = 1  # AUDIO_UP: audio from before the onset
    ITEM_END = 2  # AUDIO_DOWN: the item has no further audio (the payload may be empty)
    CUTTABLE = 4  # SERVER_EVENT: dropped if the playout of its item is cut before its position
    RELEASE_ALL = 8  # SERVER_EVENT: released at once, behind everything that is held of the response of its item
    RETURNED = 32  # ALIVE: the sender was disconnected from the bus; the receiver resends the last seconds
    RESENT = 64  # any: may have been received before
    MORE = 128  # CLIENT_EVENT: the next one continues the same event


NO_FLAGS = Flag(0)
KNOWN_FLAGS = 0xEF


class MalformedFrameError(ValueError):
    """Bytes that are not a frame of this version."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a call's stream."""

    kind: Kind
    epoch: Epoch
    position: int
    sent_unix_ms: int
    item_id: ItemId | None = None
    flags: Flag = NO_FLAGS
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """Pack ``frame``.

    Raises:
        struct.error: a number does not fit its field.
    """
    item = frame.item_id.encode("ascii") if frame.item_id else b""
    header = _HEADER.pack(VERSION, frame.kind, frame.flags, frame.epoch, frame.position, frame.sent_unix_ms, len(item))
    return b"".join((header, item, frame.payload))


def encode_audio_up(epoch: Epoch, position: int, sent_unix_ms: int, flags: Flag, pcm: bytes) -> bytes:
    """Pack an AUDIO_UP frame as `encode` does, but faster: each talking caller sends 25 a second."""
    return _HEADER.pack(VERSION, Kind.AUDIO_UP, flags, epoch, position, sent_unix_ms, 0) + pcm


def mark_resent(data: bytes) -> bytes:
    """Return the encoded frame with the flag RESENT: it may have been received before."""
    flags = int.from_bytes(data[2:4], "little") | Flag.RESENT
    return data[:2] + flags.to_bytes(2, "little") + data[4:]


def without_flags(data: bytes) -> bytes:
    """Return the encoded frame without its flags: equal for a frame and its resent copy."""
    return data[:2] + data[4:]


def decode(data: bytes) -> Frame:
    """Unpack a frame.

    Raises:
        MalformedFrameError: too short, too long, another version or an unknown kind.
    """
    if not _HEADER.size <= len(data) <= MAX_FRAME_BYTES:
        raise MalformedFrameError(f"{len(data)} bytes")
    version, kind, flags, epoch, position, sent, item_len = _HEADER.unpack_from(data)
    if version != VERSION:
        raise MalformedFrameError(f"version {version}")
    end = _HEADER.size + item_len
    if len(data) < end:
        raise MalformedFrameError(f"item id of {item_len} bytes is cut off")
    try:
        known = Kind(kind)
        item = data[_HEADER.size : end].decode("ascii")
    except ValueError as exc:
        raise MalformedFrameError(f"kind {kind} or its item id is unknown here") from exc
    return Frame(
        kind=known,
        epoch=Epoch(epoch),
        position=position,
        sent_unix_ms=sent,
        item_id=ItemId(item) if item else None,
        flags=Flag(flags & KNOWN_FLAGS),
        payload=data[end:],
    )


def encode_server_event(sequence: int, event: bytes) -> bytes:
    """Return the payload of a SERVER_EVENT: its sequence number within the session and the JSON for the client."""
    return _SEQUENCE.pack(sequence) + event


def decode_server_event(payload: bytes) -> tuple[int, bytes]:
    """Split the payload of a SERVER_EVENT into sequence number and JSON.

    Raises:
        MalformedFrameError: shorter than the sequence number.
    """
    if len(payload) < _SEQUENCE.size:
        raise MalformedFrameError("server event without a sequence number")
    return _SEQUENCE.unpack_from(payload)[0], payload[_SEQUENCE.size :]
