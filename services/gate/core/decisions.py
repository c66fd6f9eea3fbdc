"""What the gate decided about one stream, in milliseconds of the recording."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.contracts.audio import FRAME_MS
from services.media.core.speech.gate import EagerEnded, Forward, GateClosed, GateEvent, GateOpened


@dataclass(slots=True)
class Decisions:
    """The decisions so far. Times of `opens`, `closes` and `turn_ends_ms` are when the gate decided."""

    sent: list[list[int]] = field(default_factory=list)
    """Stretches that were sent, [start, end] in ms, in order."""
    turn_ends_ms: list[int] = field(default_factory=list)
    opens: list[dict[str, Any]] = field(default_factory=list)
    closes: list[dict[str, Any]] = field(default_factory=list)
    eager_ends: int = 0
    """Times that the turn had probably ended, so that an answer would be requested."""
    taken_back: int = 0
    """Times that the caller spoke on after one."""
    frames: int = 0

    def record(self, events: Sequence[GateEvent]) -> None:
        """Record what the gate returned for the next frame."""
        self.frames += 1
        for event in events:
            self._record(event, self.frames * FRAME_MS)

    def finish(self, events: Sequence[GateEvent]) -> None:
        """Record what the gate returned at the end of the recording."""
        for event in events:
            self._record(event, self.frames * FRAME_MS)

    def _record(self, event: GateEvent, now_ms: int) -> None:
        if isinstance(event, Forward):
            self._send(event.frame.index * FRAME_MS)
        elif isinstance(event, GateOpened):
            self.opens.append({"ms": now_ms, "cause": event.cause})
        elif isinstance(event, EagerEnded):
            self.eager_ends += 1
        elif isinstance(event, GateClosed):
            self.closes.append({"ms": now_ms, "reason": event.reason})
            if event.reason != "hangup":  # the recording ended first
                self.turn_ends_ms.append(now_ms)
        else:
            self.taken_back += 1

    def _send(self, start_ms: int) -> None:
        if self.sent and self.sent[-1][1] == start_ms:
            self.sent[-1][1] = start_ms + FRAME_MS
        else:
            self.sent.append([start_ms, start_ms + FRAME_MS])

    @property
    def sent_ms(self) -> int:
        """Audio that was sent."""
        return sum(end - start for start, end in self.sent)

    @property
    def share_saved(self) -> float:
        """Share of the audio that was not sent, 0 to 1."""
        return 1 - self.sent_ms / (self.frames * FRAME_MS) if self.frames else 0.0

    def as_json(self, path: str, *, seconds: float) -> dict[str, Any]:
        """Return the entry of `hushgate gate --json` for a stream of ``path``."""
        return {
            "path": path,
            "seconds": round(seconds, 3),
            "sent": self.sent,
            "turn_ends_ms": self.turn_ends_ms,
            "opens": self.opens,
            "closes": self.closes,
        }
