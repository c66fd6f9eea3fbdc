"""RTP payloads of the callers' clips: built once per process, shared by all its calls."""

import struct
from collections.abc import Sequence

from services.callers.core.clip import QUIETEST, EncodedClip
from services.callers.core.simulated_caller import OutgoingFrame


class RtpPayloads:
    """RTP bodies of clips and silence: an audio-level extension where it was negotiated, and the payload."""

    def __init__(self, clips: Sequence[EncodedClip], silence: bytes) -> None:
        self.clips = tuple(clips)
        self._silence = silence
        self._bodies: dict[int, tuple[dict[str, tuple[bytes, ...]], bytes]] = {}

    def body(self, sound: OutgoingFrame, level_id: int) -> bytes:
        """Return the bytes after the RTP header; ``level_id`` 0: without a level."""
        made = self._bodies.get(level_id)
        if made is None:
            made = self._bodies[level_id] = self._make(level_id)
        return made[0][sound.clip.name][sound.index] if sound.clip else made[1]

    def _make(self, level_id: int) -> tuple[dict[str, tuple[bytes, ...]], bytes]:
        return {
            clip.name: tuple(
                _extension(level_id, level) + payload for payload, level in zip(clip.payloads, clip.levels, strict=True)
            )
            for clip in self.clips
        }, _extension(level_id, QUIETEST) + self._silence


def _extension(level_id: int, level: int) -> bytes:
    """RFC 6464 in RFC 8285's one-byte form: a packet's level, and whether it is speech."""
    if not level_id:
        return b""
    speech = 0 if level == QUIETEST else 0x80
    return struct.pack("!HHBBH", 0xBEDE, 1, level_id << 4, speech | level, 0)
